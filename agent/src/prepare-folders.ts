import { mkdirSync, writeFileSync } from "node:fs";

import { seccompProfile, systemSeccompProfile } from "./lxc/seccomp-profile.ts";
import type { AgentPaths } from "./paths.ts";

/** Makes the agent's folders, for root alone, and the files that every container's configuration names. */
export function prepareFolders(paths: AgentPaths): void {
  for (const path of [paths.data, paths.processes, paths.volumes, paths.run, paths.runs]) {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  }
  writeFileSync(paths.seccompProfile, seccompProfile, { mode: 0o600 });
  writeFileSync(paths.systemSeccompProfile, systemSeccompProfile, { mode: 0o600 });
}
