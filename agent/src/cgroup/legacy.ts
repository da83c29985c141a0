import { join } from "node:path";

import type { Limits } from "@strata/protocol/agent/messages";

import { AgentError } from "../errors.ts";
import type { LxcEntry } from "../lxc/config-writer.ts";
import type { CgroupCounters, Cgroups, CgroupUsage } from "./cgroups.ts";
import type { Disk } from "./disk.ts";
import {
  listPids,
  listSubgroups,
  makeGroup,
  parseCounter,
  readGroupFile,
  removeGroup,
  removeOwnGroup,
} from "./group-folder.ts";
import { createLegacyFreezer } from "./legacy-freezer.ts";
import {
  describeLegacyShortfall,
  type LegacyController,
  type LegacyGroups,
  resizeLegacy,
  seenMemoryBytes,
  setLegacyLimits,
  throttles,
} from "./legacy-limits.ts";
import { createLegacyProbes } from "./legacy-probes.ts";
import { allMounts, type CgroupMounts } from "./mounts.ts";

/** The controllers that carry limits or counters of ours. LXC makes what it needs in the others. */
const needed = ["memory", "cpu", "cpuacct", "pids"] as const;

export type LegacyOptions = {
  readonly mounts: CgroupMounts;
  readonly parent: string;
  /** What limits of io are about. */
  readonly disk: Disk | undefined;
};

/** cgroup v1, alone or beside a v2 without controllers.
 * @throws AgentError HOST_UNFIT when a controller is missing. */
export function createLegacyCgroups({ mounts, parent, disk }: LegacyOptions): Cgroups {
  const group = (controller: (typeof needed)[number], ...path: readonly string[]): string =>
    join(requireMount(mounts, controller), parent, ...path);
  const roots = allMounts(mounts).map((mount) => join(mount, parent));
  const supervisors = trackingMounts(mounts).map((mount) => join(mount, parent));
  for (const controller of needed) requireMount(mounts, controller);
  const find = (controller: LegacyController, ...path: readonly string[]): string | undefined => {
    const mount = mounts.legacy.get(controller);
    return mount === undefined ? undefined : join(mount, parent, ...path);
  };
  const groupsOf = (processId: string): LegacyGroups => ({
    process: (controller) => find(controller, processId),
    box: (controller) => group(controller, processId, "box"),
    container: (controller) => find(controller, processId, "box", "c"),
  });

  return {
    prepare: (processId, limits) => {
      for (const controller of needed) makeGroup(group(controller, processId, "box"));
      for (const root of supervisors) makeGroup(join(root, processId, "supervisor"));
      setLegacyLimits(groupsOf(processId), limits, disk);
    },
    resize: (processId, limits) => resizeLegacy(groupsOf(processId), limits, disk),
    describeShortfall: (limits) => describeLegacyShortfall(limits, disk),
    supervisorFiles: (processId) =>
      supervisors.map((root) => join(root, processId, "supervisor", "cgroup.procs")),
    toolFiles: (processId) =>
      needed.map((controller) => {
        makeGroup(group(controller, processId, "box", "tool"));
        return group(controller, processId, "box", "tool", "cgroup.procs");
      }),
    ...createLegacyProbes(mounts, parent),
    ...createLegacyFreezer(mounts, parent),
    lxcEntries: (processId, limits) => [
      ["lxc.cgroup.dir.container", join(parent, processId, "box", "c")],
      ["lxc.cgroup.dir.monitor", join(parent, processId, "monitor")],
      ["lxc.cgroup.dir.monitor.pivot", parent],
      // The limit that holds is ours, one level up; this one is for the application to see.
      ["lxc.cgroup.memory.limit_in_bytes", String(seenMemoryBytes(limits))],
      ...throttleEntries(limits.io, disk),
    ],
    readUsage: (processId) => readUsage((controller) => group(controller, processId, "box")),
    readCpuUs: (processId) => readCpuUs(group("cpuacct", processId, "box")),
    readCounters: (processId) => ({
      ...readIo(find("blkio", processId, "box"), disk),
      // Counted in the group of what was killed, so it goes with the container.
      oomKills: parseCounter(
        readGroupFile(group("memory", processId, "box", "c"), "memory.oom_control") ?? "",
        "oom_kill",
      ),
    }),
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

function throttleEntries(io: Limits["io"], disk: Disk | undefined): readonly LxcEntry[] {
  if (io === undefined || disk === undefined) return [];
  return throttles(io, disk)
    .filter(({ value }) => !value.endsWith(" 0"))
    .map(({ name, value }): LxcEntry => [`lxc.cgroup.${name}`, value]);
}

/** Lines such as `8:0 Read 4096`. */
function readIo(box: string | undefined, disk: Disk | undefined): CgroupCounters {
  const text =
    box === undefined ? undefined : readGroupFile(box, "blkio.throttle.io_service_bytes_recursive");
  if (text === undefined || disk === undefined) return {};
  return {
    ioReadBytes: parseCounter(text, `${disk.number} Read`),
    ioWriteBytes: parseCounter(text, `${disk.number} Write`),
  };
}

function readCpuUs(box: string): number | undefined {
  const nanoseconds = readGroupFile(box, "cpuacct.usage");
  return nanoseconds === undefined ? undefined : Math.round(Number(nanoseconds) / 1000);
}

function readUsage(box: (controller: (typeof needed)[number]) => string): CgroupUsage | undefined {
  const cpuUsageUs = readCpuUs(box("cpuacct"));
  const memory = readGroupFile(box("memory"), "memory.usage_in_bytes");
  const stat = readGroupFile(box("memory"), "memory.stat");
  const pids = readGroupFile(box("pids"), "pids.current");
  if (cpuUsageUs === undefined || memory === undefined || stat === undefined) return undefined;
  const cache = parseCounter(stat, "total_inactive_file") + parseCounter(stat, "total_active_file");
  return {
    cpuUsageUs,
    memoryBytes: Math.max(0, Number(memory) - cache),
    pids: Number(pids ?? 0),
  };
}
