import { fileURLToPath } from "node:url";

import type { Invocation } from "../command.ts";
import { CliError } from "../errors.ts";

/** Becomes the controller's own program, which reads backups; the controller itself is stopped then. */
export function run({ context, args }: Invocation): Promise<never> {
  const program = fileURLToPath(new URL("../../../controller/src/main.ts", import.meta.url));
  process.execve?.(process.execPath, [process.execPath, program, "restore", ...args], {
    ...context.env,
  });
  // Only Windows comes here: elsewhere this program is another one now.
  throw new CliError("TOOL_MISSING", "a controller runs on Linux alone");
}
