import type { Event } from "@strata/protocol/api/resources";

import { oneLine } from "./table.ts";

/** One event in one line: when, what, to whom, and in words. */
export function eventLine({ at, type, subject, message }: Event): string {
  return oneLine(`${at.slice(0, 19)}Z  ${type.padEnd(24)} ${subject}  ${message}`);
}
