import type { Writable } from "node:stream";

import type { RegistryLogger } from "../logger.ts";

/** One JSON object for each line. */
export function createLog(output: Writable): RegistryLogger {
  const log = (
    level: string,
    entry: { readonly message: string; readonly fields: object },
  ): void => {
    const { message, fields } = entry;
    output.write(`${JSON.stringify({ level, message, ...fields }, showErrors)}\n`);
  };
  return {
    warn: (fields, message) => log("warn", { message, fields }),
    error: (fields, message) => log("error", { message, fields }),
  };
}

/** Errors have no enumerable properties of their own, so JSON would show `{}`. */
function showErrors(_key: string, value: unknown): unknown {
  return value instanceof Error
    ? { name: value.name, message: value.message, stack: value.stack, cause: value.cause }
    : value;
}
