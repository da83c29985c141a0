import { fileURLToPath } from "node:url";

import type { Invocation } from "../command.ts";
import { CliError } from "../errors.ts";
import { findStoreProgram } from "../store/find-program.ts";

/** Becomes the program of the store, which is a package of its own that this one does not import. In place of a child:
 * signals, terminal and exit status are then its own. */
export function run({ context, args }: Invocation): Promise<never> {
  const program = findStoreProgram(fileURLToPath(new URL("../../..", import.meta.url)));
  process.execve?.(process.execPath, [process.execPath, program, ...args], { ...context.env });
  // Only Windows comes here: elsewhere this program is another one now.
  throw new CliError("TOOL_MISSING", "the store runs on Linux alone");
}
