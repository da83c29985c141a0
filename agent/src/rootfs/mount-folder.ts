import { statSync } from "node:fs";

import { AgentError } from "../errors.ts";

/** Folders that the File-system Hierarchy Standard promises, that everybody may enter, and that nothing of LXC's needs. */
const candidates = ["/mnt", "/media", "/srv", "/opt"];

/** Where each supervisor mounts its container's files, in its own view of the file system: the folder on the host stays
 * as it is. It must not hide the agent's own folders from the supervisor.
 * @throws AgentError HOST_UNFIT */
export function chooseMountFolder(used: readonly string[]): string {
  const found = candidates.find(
    (candidate) =>
      !used.some((path) => `${path}/`.startsWith(`${candidate}/`)) && isOpenFolder(candidate),
  );
  if (found !== undefined) return found;
  throw new AgentError("HOST_UNFIT", `none of ${candidates.join(", ")} can be mounted on`, {
    hint: "make /mnt, with mode 0755, and keep STRATA_DATA and STRATA_RUN outside of it",
  });
}

function isOpenFolder(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat?.isDirectory() === true && (stat.mode & 0o001) !== 0;
}
