import type { Cgroups } from "../cgroup/cgroups.ts";
import {
  getExecutable,
  getNamespacePid,
  identifyProcess,
  type ProcessIdentity,
} from "../host/process-table.ts";

/** In the container of an application, lxc-init is pid 1; the first process that it starts is the application. */
const INIT = 1;
const APPLICATION = 2;

/** What LXC is until it becomes the init of a system container. */
const LXC_START = "/usr/bin/lxc-start";

/** The application's first process once it executes its own program and no longer LXC's; `gone` when only what it left
 * behind still runs. In a system container that is its init. */
export function findApplication(
  cgroups: Cgroups,
  { processId, isSystem }: { readonly processId: string; readonly isSystem: boolean },
): ProcessIdentity | "starting" | "gone" {
  if (isSystem) return identifyInit(findInit(cgroups, processId)) ?? "starting";
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

function identifyInit(init: number | undefined): ProcessIdentity | undefined {
  if (init === undefined) return undefined;
  const executable = getExecutable(init);
  const isItself = executable !== undefined && executable !== LXC_START;
  return isItself ? identifyProcess(init) : undefined;
}

/** Pid 1 of the container: its death takes all others with it. */
export function findInit(cgroups: Cgroups, processId: string): number | undefined {
  return cgroups.listContainerPids(processId).find((pid) => getNamespacePid(pid) === INIT);
}
