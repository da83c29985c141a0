import type { Limits, ProcessMetrics } from "@strata/protocol/agent/messages";

import type { LxcEntry } from "../lxc/config-writer.ts";

/** What a process has used since its container began. */
export type CgroupUsage = {
  readonly cpuUsageUs: number;
  /** Without page cache. */
  readonly memoryBytes: number;
  readonly pids: number;
};

/** What is worth knowing less often than `CgroupUsage`. What the host does not count is left out. */
export type CgroupCounters = Pick<
  ProcessMetrics,
  "ioReadBytes" | "ioWriteBytes" | "oomKills" | "pressure"
>;

/** The control groups of one agent: `strata/<agent>/<process>/` with
 *   box         limits, set by us, so that they and the counters outlive the container
 *   box/c       the container itself; LXC makes and removes it
 *   box/c/probe-… what a health probe runs in the container, so that all of it is found again
 *   monitor     LXC's monitor
 *   box/tool    helpers of ours that work inside the container's limits
 *   supervisor  the shell that waits for the container, out of whatever group the agent is in
 * Shares are the process's own, beside those of other processes; limits are the box's.
 * One implementation for v1 and one for v2. All calls but `resize` are synchronous: these files never wait for a disk. */
export type Cgroups = {
  /** Makes the groups of a process and sets its limits. Safe to repeat for the same limits.
   * @throws AgentError LIMIT_UNSUPPORTED for one that this host cannot hold. */
  readonly prepare: (processId: string, limits: Limits) => void;
  /** Changes the limits of a process that runs; all of them, or none when it throws. Nothing is killed for it.
   * @throws AgentError LIMIT_UNSUPPORTED; RESIZE_REFUSED when it uses more memory than it is to have. */
  readonly resize: (processId: string, limits: Limits) => Promise<void>;
  /** Which of the shares asked for have no effect on this host; undefined when all have. */
  readonly describeShortfall: (limits: Limits) => string | undefined;
  /** Files into which a supervisor writes its pid to move itself. */
  readonly supervisorFiles: (processId: string) => readonly string[];
  /** Files into which a helper writes its pid to work inside the container's limits; makes their groups. */
  readonly toolFiles: (processId: string) => readonly string[];
  /** Files into which a health probe writes its pid to be in the container's group, and in one of its own in there;
   * makes that one. Undefined when the container is gone. */
  readonly probeFiles: (processId: string, name: string) => readonly string[] | undefined;
  /** Host pids of all that a probe started. */
  readonly listProbePids: (processId: string, name: string) => readonly number[];
  /** Takes the processor from all that is in the container, until `thaw`; memory and connections stay. False when it is
   * gone, or the host cannot. */
  readonly freeze: (processId: string) => boolean;
  /** Safe to repeat, and for one that was never frozen. */
  readonly thaw: (processId: string) => void;
  /** Somebody froze the container. */
  readonly isFrozen: (processId: string) => boolean;
  readonly lxcEntries: (processId: string, limits: Limits) => readonly LxcEntry[];
  /** Undefined when the process has no groups. */
  readonly readUsage: (processId: string) => CgroupUsage | undefined;
  /** Microseconds of processor time, as in `readUsage`: one file in place of four. */
  readonly readCpuUs: (processId: string) => number | undefined;
  readonly readCounters: (processId: string) => CgroupCounters;
  /** True when its memory limit made the kernel kill something since `prepare` first made the groups. */
  readonly wasOutOfMemory: (processId: string) => boolean;
  /** Host pids in the container, oldest group member first; empty when it is gone. */
  readonly listContainerPids: (processId: string) => readonly number[];
  /** Host pids of container, monitor and supervisor. */
  readonly listAllPids: (processId: string) => readonly number[];
  /** Host pids of the supervisor's shell and what it runs beside LXC. */
  readonly listSupervisorPids: (processId: string) => readonly number[];
  /** Removes the groups of a process. False while something still runs in them. */
  readonly remove: (processId: string) => boolean;
  /** Every process that has groups of this agent. */
  readonly listProcessIds: () => readonly string[];
  /** Removes the agent's own group; false while a process has groups in it. */
  readonly removeOwn: () => boolean;
};

/** The kernel's period for processor quotas; the quota is a share of it. */
export const CPU_PERIOD_US = 100_000;
/** The kernel refuses a smaller one. */
const CPU_QUOTA_US_MIN = 1000;

export function cpuQuotaUs(cpuMaxMillis: number): number {
  return Math.max(CPU_QUOTA_US_MIN, Math.round((cpuMaxMillis * CPU_PERIOD_US) / 1000));
}
