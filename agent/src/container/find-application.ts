import type { Cgroups } from "../cgroup/cgroups.ts";
import {
  getExecutable,
  getParentPid,
  identifyProcess,
  isNamespaceInit,
  type ProcessIdentity,
} from "../host/process-table.ts";

/** The first process of the application, once it executes its own program and no longer LXC's; undefined before that
 * and after its end. In the container, lxc-init is pid 1 and the application its child. */
export function findApplication(cgroups: Cgroups, processId: string): ProcessIdentity | undefined {
  const pids = cgroups.listContainerPids(processId);
  const init = pids.find(isNamespaceInit);
  if (init === undefined) return undefined;
  const program = getExecutable(init);
  const application = pids.find(
    (pid) => getParentPid(pid) === init && getExecutable(pid) !== program,
  );
  return application === undefined ? undefined : identifyProcess(application);
}

/** Pid 1 of the container: its death takes all others with it. */
export function findInit(cgroups: Cgroups, processId: string): number | undefined {
  return cgroups.listContainerPids(processId).find(isNamespaceInit);
}
