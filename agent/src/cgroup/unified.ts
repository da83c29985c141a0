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

const controllers = "+memory +cpu +pids";

/** cgroup v2 with `mount` as the root of the hierarchy.
 * @throws AgentError HOST_UNFIT when the kernel does not hand out a controller. */
export function createUnifiedCgroups(mount: string, parent: string): Cgroups {
  const group = (...path: readonly string[]): string => join(mount, parent, ...path);

  return {
    prepare: (processId, limits) => {
      makeGroup(group(processId, "box"));
      makeGroup(group(processId, "supervisor"));
      const above = join(parent, processId, "box")
        .split("/")
        .map((_, index, parts) => join(mount, ...parts.slice(0, index)));
      for (const path of above) enableControllers(path);
      setLimits(group(processId, "box"), limits);
    },
    supervisorFiles: (processId) => [group(processId, "supervisor", "cgroup.procs")],
    lxcEntries: (processId, { memoryMaxBytes }) => [
      ["lxc.cgroup.dir.container", join(parent, processId, "box", "c")],
      ["lxc.cgroup.dir.monitor", join(parent, processId, "monitor")],
      ["lxc.cgroup.dir.monitor.pivot", parent],
      // The limit that holds is ours, one level up; this one is for the application to see.
      ["lxc.cgroup2.memory.max", String(memoryMaxBytes)],
    ],
    readUsage: (processId) => {
      const cpu = readGroupFile(group(processId, "box"), "cpu.stat");
      const memory = readGroupFile(group(processId, "box"), "memory.current");
      const stat = readGroupFile(group(processId, "box"), "memory.stat");
      const pids = readGroupFile(group(processId, "box"), "pids.current");
      if (cpu === undefined || memory === undefined || stat === undefined) return undefined;
      const cache = parseCounter(stat, "inactive_file") + parseCounter(stat, "active_file");
      return {
        cpuUsageUs: parseCounter(cpu, "usage_usec"),
        memoryBytes: Math.max(0, Number(memory) - cache),
        pids: Number(pids ?? 0),
      };
    },
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

function enableControllers(path: string): void {
  const has = readGroupFile(path, "cgroup.subtree_control") ?? "";
  if (["memory", "cpu", "pids"].every((name) => has.split(/\s/).includes(name))) return;
  try {
    writeGroupFile(path, "cgroup.subtree_control", controllers);
  } catch (cause) {
    throw new AgentError("HOST_UNFIT", `the cgroup controllers of ${path} cannot be handed on`, {
      cause,
      hint: "the agent needs memory, cpu and pids: run it as root outside a restricted cgroup namespace",
    });
  }
}

function setLimits(box: string, { memoryMaxBytes, cpuMaxMillis, pidsMax }: Limits): void {
  writeGroupFile(box, "memory.max", memoryMaxBytes);
  writeOptionalGroupFile(box, "memory.swap.max", 0);
  writeGroupFile(box, "cpu.max", `${cpuQuotaUs(cpuMaxMillis)} ${CPU_PERIOD_US}`);
  writeGroupFile(box, "pids.max", pidsMax);
}
