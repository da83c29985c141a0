import { join } from "node:path";

import type { Pressure } from "@strata/protocol/agent/messages";

import { AgentError } from "../errors.ts";
import type { CgroupCounters, Cgroups } from "./cgroups.ts";
import type { Disk } from "./disk.ts";
import {
  listPids,
  listSubgroups,
  makeGroup,
  makeSubgroup,
  parseCounter,
  probeGroup,
  readGroupFile,
  removeGroup,
  removeOwnGroup,
  writeGroupFile,
  writeOptionalGroupFile,
} from "./group-folder.ts";
import {
  describeUnifiedShortfall,
  resizeUnified,
  setUnifiedLimits,
  type UnifiedGroups,
} from "./unified-limits.ts";

const needed = ["memory", "cpu", "pids"] as const;

export type UnifiedOptions = {
  /** The root of the hierarchy. */
  readonly mount: string;
  readonly parent: string;
  /** What limits of io are about. */
  readonly disk: Disk | undefined;
};

/** cgroup v2.
 * @throws AgentError HOST_UNFIT when the kernel does not hand out a controller. */
export function createUnifiedCgroups({ mount, parent, disk }: UnifiedOptions): Cgroups {
  const group = (...path: readonly string[]): string => join(mount, parent, ...path);
  const groupsOf = (processId: string): UnifiedGroups => ({
    process: group(processId),
    box: group(processId, "box"),
    container: group(processId, "box", "c"),
  });
  const handDown = (processId: string): void => {
    const above = join(parent, processId, "box")
      .split("/")
      .map((_, index, parts) => join(mount, ...parts.slice(0, index)));
    for (const path of above) enableControllers(path);
  };

  return {
    prepare: (processId, limits) => {
      makeGroup(group(processId, "box"));
      makeGroup(group(processId, "supervisor"));
      handDown(processId);
      setUnifiedLimits(groupsOf(processId), limits, disk);
    },
    resize: async (processId, limits) => {
      // An earlier version of the agent, which made the groups, may have done without io.
      handDown(processId);
      await resizeUnified(groupsOf(processId), limits, disk);
    },
    describeShortfall: (limits) => describeUnifiedShortfall(mount, limits, disk),
    supervisorFiles: (processId) => [group(processId, "supervisor", "cgroup.procs")],
    toolFiles: (processId) => {
      makeGroup(group(processId, "box", "tool"));
      return [group(processId, "box", "tool", "cgroup.procs")];
    },
    probeFiles: (processId, name) => {
      const own = group(processId, "box", "c", probeGroup(name));
      return makeSubgroup(own) ? [join(own, "cgroup.procs")] : undefined;
    },
    listProbePids: (processId, name) => listPids(group(processId, "box", "c", probeGroup(name))),
    freeze: (processId) => setFrozen(group(processId, "box", "c"), 1),
    thaw: (processId) => void setFrozen(group(processId, "box", "c"), 0),
    isFrozen: (processId) => isFrozen(group(processId, "box", "c")),
    lxcEntries: (processId, { memoryMaxBytes }) => [
      ["lxc.cgroup.dir.container", join(parent, processId, "box", "c")],
      ["lxc.cgroup.dir.monitor", join(parent, processId, "monitor")],
      ["lxc.cgroup.dir.monitor.pivot", parent],
      // The limit that holds is ours, one level up; this one is for the application to see.
      ["lxc.cgroup2.memory.max", String(memoryMaxBytes)],
    ],
    readCpuUs: (processId) => readCpuUs(group(processId, "box")),
    readUsage: (processId) => {
      const cpuUsageUs = readCpuUs(group(processId, "box"));
      const memory = readGroupFile(group(processId, "box"), "memory.current");
      const stat = readGroupFile(group(processId, "box"), "memory.stat");
      const pids = readGroupFile(group(processId, "box"), "pids.current");
      if (cpuUsageUs === undefined || memory === undefined || stat === undefined) return undefined;
      const cache = parseCounter(stat, "inactive_file") + parseCounter(stat, "active_file");
      return {
        cpuUsageUs,
        memoryBytes: Math.max(0, Number(memory) - cache),
        pids: Number(pids ?? 0),
      };
    },
    readCounters: (processId) => readCounters(group(processId, "box"), disk),
    wasOutOfMemory: (processId) =>
      parseCounter(readGroupFile(group(processId, "box"), "memory.events") ?? "", "oom_kill") > 0,
    listContainerPids: (processId) => listPids(group(processId, "box", "c")),
    listAllPids: (processId) => listPids(group(processId)),
    listSupervisorPids: (processId) => listPids(group(processId, "supervisor")),
    remove: (processId) => removeGroup(group(processId)),
    listProcessIds: () => listSubgroups(group()).filter((name) => name !== PIVOT),
    removeOwn: () => removeOwnGroup(group()),
  };
}

/** LXC's name for the group into which a monitor moves itself when it ends. */
const PIVOT = "lxc.pivot";

/** Itself, or for one above it. */
export function isFrozen(group: string): boolean {
  return parseCounter(readGroupFile(group, "cgroup.events") ?? "", "frozen") === 1;
}

/** cgroup-v2.rst, "cgroup.freeze". False when the group is gone. */
export function setFrozen(group: string, value: 0 | 1): boolean {
  return writeOptionalGroupFile(group, "cgroup.freeze", value);
}

/** io as well, where the kernel has it: only a process that wants limits of it fails without. */
function enableControllers(path: string): void {
  const enabled = readWords(path, "cgroup.subtree_control");
  const missing = [
    ...needed.filter((name) => !enabled.includes(name)),
    ...["io"].filter(
      (name) => !enabled.includes(name) && readWords(path, "cgroup.controllers").includes(name),
    ),
  ];
  if (missing.length === 0) return;
  try {
    const change = missing.map((name) => `+${name}`).join(" ");
    writeGroupFile(path, "cgroup.subtree_control", change);
  } catch (cause) {
    throw new AgentError("HOST_UNFIT", `the cgroup controllers of ${path} cannot be handed on`, {
      cause,
      hint: "the agent needs memory, cpu and pids: run it as root outside a restricted cgroup namespace",
    });
  }
}

function readWords(group: string, name: string): readonly string[] {
  return (readGroupFile(group, name) ?? "").split(/\s+/).filter((word) => word !== "");
}

function readCounters(box: string, disk: Disk | undefined): CgroupCounters {
  const io = readGroupFile(box, "io.stat");
  const events = readGroupFile(box, "memory.events");
  const pressure = readPressure(box);
  return {
    ...(io !== undefined && disk !== undefined && parseIoStat(io, disk.number)),
    ...(events !== undefined && { oomKills: parseCounter(events, "oom_kill") }),
    ...(pressure && { pressure }),
  };
}

/** The line of one disk: others would count what is stacked on it twice. No line is no use. */
function parseIoStat(text: string, disk: string): CgroupCounters {
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${disk} `)) ?? "";
  const value = (name: string): number =>
    Number(new RegExp(` ${name}=(\\d+)`).exec(line)?.[1] ?? 0);
  return { ioReadBytes: value("rbytes"), ioWriteBytes: value("wbytes") };
}

/** Undefined where the kernel keeps no account of it, or was booted with psi=0. */
function readPressure(box: string): Pressure | undefined {
  const [cpu, memory, io] = ["cpu", "memory", "io"].map((name) => readPressureFile(box, name));
  if (cpu === undefined || memory === undefined || io === undefined) return undefined;
  return {
    cpuSome: parseAverage(cpu, "some"),
    memorySome: parseAverage(memory, "some"),
    memoryFull: parseAverage(memory, "full"),
    ioSome: parseAverage(io, "some"),
    ioFull: parseAverage(io, "full"),
  };
}

function readPressureFile(box: string, name: string): string | undefined {
  try {
    return readGroupFile(box, `${name}.pressure`);
  } catch {
    // EOPNOTSUPP when it is switched off at boot.
    return undefined;
  }
}

/** Documentation/accounting/psi.rst: `some avg10=0.00 avg60=… avg300=… total=…`. */
function parseAverage(text: string, kind: "some" | "full"): number {
  return Number(new RegExp(`^${kind} avg10=([\\d.]+)`, "m").exec(text)?.[1] ?? 0);
}

function readCpuUs(box: string): number | undefined {
  const stat = readGroupFile(box, "cpu.stat");
  return stat === undefined ? undefined : parseCounter(stat, "usage_usec");
}
