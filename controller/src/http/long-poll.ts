/** What a node says when it asks for what is newer than it has. */
import { parseDurationMs } from "@strata/protocol/units";
import { z } from "zod";

import { limits } from "../config.ts";

export const LongPollQuery = z.strictObject({
  revision: z.coerce.number().int().min(0).default(0),
  wait: z
    .string()
    .max(20)
    .regex(/^\d+(\.\d+)?(ms|s|m)?$/, "write a duration such as 30s")
    .default("0s"),
});

/** Milliseconds that the answer may take when there is nothing new. */
export function waitMsOf({ wait }: Pick<z.infer<typeof LongPollQuery>, "wait">): number {
  return Math.min(limits.longPollMsMax, parseDurationMs(wait));
}
