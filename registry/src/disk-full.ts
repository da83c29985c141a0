import { getErrorCode } from "@strata/protocol/errors";

const codes: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "SQLITE_FULL"]);
const CAUSES_MAX = 8;

/** Whether the error, or what caused it, is a disk or quota without space. */
export function isDiskFull(error: unknown): boolean {
  let current = error;
  for (let depth = 0; depth < CAUSES_MAX && current !== undefined; depth += 1) {
    if (codes.has(getErrorCode(current) ?? "")) return true;
    current = current instanceof Error ? current.cause : undefined;
  }
  return false;
}
