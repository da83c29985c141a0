import type { Cgroups } from "../cgroup/cgroups.ts";
import {
  getExecutable,
  getNamespacePid,
  identifyProcess,
  type ProcessIdentity,
} from "../host/process-table.ts";

/** In the container, lxc-init is pid 1; the first process that it starts is the application. */
const INIT = 1;
const APPLICATION = 2;

/** The application's first process once it executes its own program and no longer LXC's; `gone` when only what it left
 * behind still runs. */
export function findApplication(
  cgroups: Cgroups,
  processId: string,
): ProcessIdentity | "starting" | "gone" {
  const pids = new Map(
    cgroups.listContainerPids(processId).map((pid) => [getNamespacePid(pid), pid] as const),
  );
  const init = pids.get(INIT);
  const application = pids.get(APPLICATION);
  if (init === undefined) return "starting";
  if (application === undefined) return pids.size > 1 ? "gone" : "starting";
  const isItself = getExecutable(application) !== getExecutable(init);
  return (isItself ? identifyProcess(application) : undefined) ?? "starting";
}

/** Pid 1 of the container: its death takes all others with it. */
export function findInit(cgroups: Cgroups, processId: string): number | undefined {
  return cgroups.listContainerPids(processId).find((pid) => getNamespacePid(pid) === INIT);
}
