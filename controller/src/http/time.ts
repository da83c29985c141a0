import { parseDurationMs } from "@strata/protocol/units";

import { ControllerError } from "../errors.ts";

/** Milliseconds since 1970 of `15m` (so long ago) or of a time as RFC 3339 has it.
 * @throws ControllerError INVALID */
export function parseTime(
  text: string,
  { nowMs, name }: { readonly nowMs: number; readonly name: string },
): number {
  if (/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/.test(text)) {
    const at = Date.parse(text);
    if (!Number.isNaN(at)) return at;
  }
  if (/^\d+(\.\d+)?(ms|s|m|h|d)$/.test(text)) return nowMs - parseDurationMs(text);
  throw new ControllerError("INVALID", `${name} is neither a duration nor a time`, {
    hint: `write ${name}=15m, or ${name}=2026-01-31T12:00:00Z`,
  });
}
