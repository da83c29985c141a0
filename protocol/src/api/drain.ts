/** How a process goes that is well and no longer wanted. */
import { z } from "zod";

import { DurationMs } from "../units.ts";

const NOTICE_MS_MAX = 60_000;
const DRAIN_MS_MAX = 3_600_000;

export const DrainInput = z
  .strictObject({
    /** From the moment when it is shown as draining to the one when it may be told to stop: how long clients may go on
     * with an endpoint that they read before. Left out, a short while where it has ports. */
    notice: DurationMs.refine((ms) => ms <= NOTICE_MS_MAX, "it is at most 60s").optional(),
    /** After so long it is told to stop whatever is in flight. Left out, as the scaling policy says, or 30 s. */
    max: DurationMs.refine((ms) => ms <= DRAIN_MS_MAX, "it is at most 1h").optional(),
  })
  .refine(({ notice = 0, max = DRAIN_MS_MAX }) => notice <= max, {
    path: ["notice"],
    error: "it must not be longer than max",
  });
export type DrainPolicy = z.output<typeof DrainInput>;

/** Durations in seconds. */
export const DrainShown = z.object({ notice: z.number().optional(), max: z.number().optional() });
