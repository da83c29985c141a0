import { join } from "node:path";

import type { Limits } from "@strata/protocol/agent/messages";

import { AgentError } from "../errors.ts";
import { type Cgroups, CPU_PERIOD_US, cpuQuotaUs } from "./cgroups.ts";
import {
  listPids,
  listSubgroups,
  makeGroup,
  parseCounter,
  readGroupFile,
  removeGroup,
  removeOwnGroup,
  writeGroupFile,
  writeOptionalGroupFile,
} from "./group-folder.ts";
import type { CgroupMounts } from "./mounts.ts";

/** The controllers that carry limits or counters of ours. LXC makes what it needs in the others. */
const needed = ["memory", "cpu", "cpuacct", "pids"] as const;
/** cgroup v1, alone or beside a v2 without controllers.
 * @throws AgentError HOST_UNFIT when a controller is missing. */
export function createLegacyCgroups(mounts: CgroupMounts, parent: string): Cgroups {
  const group = (controller: (typeof needed)[number], ...path: readonly string[]): string =>
    join(requireMount(mounts, controller), parent, ...path);
  const roots = [
    ...new Set([
      ...mounts.legacy.values(),
      ...(mounts.unified === undefined ? [] : [mounts.unified]),
    ]),
  ].map((mount) => join(mount, parent));
  const supervisors = trackingMounts(mounts).map((mount) => join(mount, parent));
  for (const controller of needed) requireMount(mounts, controller);

  return {
    prepare: (processId, limits) => {
      for (const controller of needed) makeGroup(group(controller, processId, "box"));
      for (const root of supervisors) makeGroup(join(root, processId, "supervisor"));
      setLimits((controller) => group(controller, processId, "box"), limits);
    },
    supervisorFiles: (processId) =>
      supervisors.map((root) => join(root, processId, "supervisor", "cgroup.procs")),
    lxcEntries: (processId, { memoryMaxBytes }) => [
      ["lxc.cgroup.dir.container", join(parent, processId, "box", "c")],
      ["lxc.cgroup.dir.monitor", join(parent, processId, "monitor")],
      ["lxc.cgroup.dir.monitor.pivot", parent],
      // The limit that holds is ours, one level up; this one is for the application to see. It is a page higher, so that
      // ours is hit first and counts it.
      ["lxc.cgroup.memory.limit_in_bytes", String(memoryMaxBytes + PAGE_BYTES)],
    ],
    readUsage: (processId) => {
      const cpu = readGroupFile(group("cpuacct", processId, "box"), "cpuacct.usage");
      const memory = readGroupFile(group("memory", processId, "box"), "memory.usage_in_bytes");
      const stat = readGroupFile(group("memory", processId, "box"), "memory.stat");
      const pids = readGroupFile(group("pids", processId, "box"), "pids.current");
      if (cpu === undefined || memory === undefined || stat === undefined) return undefined;
      const cache =
        parseCounter(stat, "total_inactive_file") + parseCounter(stat, "total_active_file");
      return {
        cpuUsageUs: Math.round(Number(cpu) / 1000),
        memoryBytes: Math.max(0, Number(memory) - cache),
        pids: Number(pids ?? 0),
      };
    },
    // v1 counts kills in the group that the kernel killed in, which LXC has removed by then. Ours still says whether
    // its limit was ever hit, and the caller asks only about a run that ended by a KILL not of our making.
    wasOutOfMemory: (processId) =>
      Number(readGroupFile(group("memory", processId, "box"), "memory.failcnt") ?? 0) > 0,
    listContainerPids: (processId) => listPids(group("pids", processId, "box", "c")),
    listAllPids: (processId) => [
      ...new Set(roots.flatMap((root) => listPids(join(root, processId)))),
    ],
    listSupervisorPids: (processId) =>
      supervisors.slice(0, 1).flatMap((root) => listPids(join(root, processId, "supervisor"))),
    remove: (processId) => !roots.map((root) => removeGroup(join(root, processId))).includes(false),
    listProcessIds: () =>
      [...new Set(roots.flatMap(listSubgroups))].filter((name) => name !== PIVOT),
    removeOwn: () => !roots.map(removeOwnGroup).includes(false),
  };
}

const PAGE_BYTES = 4096;
/** LXC's name for the group into which a monitor moves itself when it ends. */
const PIVOT = "lxc.pivot";

/** systemd knows the processes of a service by its own hierarchy or by v2; a supervisor leaves both. */
function trackingMounts(mounts: CgroupMounts): readonly string[] {
  const found = [mounts.legacy.get("name=systemd"), mounts.unified].filter(
    (mount) => mount !== undefined,
  );
  return found.length > 0 ? found : [requireMount(mounts, "pids")];
}

function requireMount({ legacy }: CgroupMounts, controller: string): string {
  const mount = legacy.get(controller);
  if (mount !== undefined) return mount;
  throw new AgentError("HOST_UNFIT", `the cgroup controller ${controller} is not mounted`, {
    hint: "boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1) or mount the v1 controllers memory, cpu, cpuacct and pids",
  });
}

function setLimits(box: (controller: (typeof needed)[number]) => string, limits: Limits): void {
  const { memoryMaxBytes, cpuMaxMillis, pidsMax } = limits;
  // Kernels before 5.11 count a subgroup against its parent only when asked.
  writeOptionalHierarchy(box("memory"));
  // The sum with swap may never be below memory alone: lift it, lower or raise memory, then set it.
  writeOptionalGroupFile(box("memory"), "memory.memsw.limit_in_bytes", -1);
  writeGroupFile(box("memory"), "memory.limit_in_bytes", memoryMaxBytes);
  // Charged before memory and without a count of failures on recent kernels: it must not be hit first.
  const withSwapMaxBytes = memoryMaxBytes + PAGE_BYTES;
  writeOptionalGroupFile(box("memory"), "memory.memsw.limit_in_bytes", withSwapMaxBytes);
  writeGroupFile(box("cpu"), "cpu.cfs_period_us", CPU_PERIOD_US);
  writeGroupFile(box("cpu"), "cpu.cfs_quota_us", cpuQuotaUs(cpuMaxMillis));
  writeGroupFile(box("pids"), "pids.max", pidsMax);
}

function writeOptionalHierarchy(box: string): void {
  if (readGroupFile(box, "memory.use_hierarchy")?.trim() === "0") {
    writeGroupFile(box, "memory.use_hierarchy", 1);
  }
}
