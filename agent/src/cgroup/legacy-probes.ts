import { existsSync } from "node:fs";
import { join } from "node:path";

import type { Cgroups } from "./cgroups.ts";
import { listPids, makeSubgroup, probeGroup } from "./group-folder.ts";
import { allMounts, type CgroupMounts } from "./mounts.ts";

/** What health probes need of cgroup v1. A probe has a group of its own in one hierarchy, in which it is found again; in
 * all others it is held by what holds the container. */
export function createLegacyProbes(
  mounts: CgroupMounts,
  parent: string,
): Pick<Cgroups, "probeFiles" | "listProbePids"> {
  const container = (mount: string | undefined, processId: string): string =>
    join(mount ?? "", parent, processId, "box", "c");
  const pids = mounts.legacy.get("pids");
  return {
    probeFiles: (processId, name) => {
      const own = join(container(pids, processId), probeGroup(name));
      if (!makeSubgroup(own)) return undefined;
      const others = allMounts(mounts)
        .filter((mount) => mount !== pids)
        .map((mount) => container(mount, processId))
        .filter((path) => existsSync(path));
      return [own, ...others].map((path) => join(path, "cgroup.procs"));
    },
    listProbePids: (processId, name) =>
      listPids(join(container(pids, processId), probeGroup(name))),
  };
}
