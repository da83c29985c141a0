import type { Scope } from "@strata/protocol/access";

import type { Running } from "../domain/running.ts";
import { ControllerError } from "../errors.ts";

/** What a process may read or write of its node is an admin's decision: whoever chooses the command of a process that has
 * a folder of the node has that folder. `wished` is what the process would run with, the cartridge's part included.
 * @throws ControllerError FORBIDDEN */
export function requireHostPathsAllowed(scope: Scope, wished: Pick<Running, "volumes">): void {
  const found = wished.volumes?.find(({ kind }) => kind === "host");
  if (found === undefined || scope === "admin") return;
  throw new ControllerError(
    "FORBIDDEN",
    `a volume of the node's own files at ${found.path} needs the scope admin; the token has ${scope}`,
    { hint: "use a named volume, or ask an admin to write this resource" },
  );
}
