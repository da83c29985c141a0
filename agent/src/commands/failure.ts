import process from "node:process";

import { CodedError } from "@strata/protocol/errors";

/** Says on standard error what is wrong and what to do; gives back the exit status. */
export function reportFailure(error: unknown): number {
  const code = error instanceof CodedError ? ` [${error.code}]` : "";
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`strata-agent: ${message}${code}\n`);
  if (error instanceof CodedError && error.hint !== undefined)
    process.stderr.write(`hint: ${error.hint}\n`);
  return 1;
}
