import { readFileSync } from "node:fs";

import type { ProcessMetrics } from "@strata/protocol/agent/messages";

import type { Cgroups } from "../cgroup/cgroups.ts";
import type { TrafficCounters } from "../network/network.ts";
import { type Counted, countConnections } from "./connections.ts";
import { createSlowCounters } from "./slow-counters.ts";

export type MetricSources = {
  readonly traffic: TrafficCounters | undefined;
  /** As `readUptimeMs` says. */
  readonly uptimeMs: number;
  /** Host pid of the application; undefined when it is gone. */
  readonly pid: number | undefined;
  /** TCP ports in the container. */
  readonly ports: readonly number[];
};

export type Sampler = {
  /** What a running process uses now, from the kernel's own files. Undefined when it is gone. */
  readonly read: (processId: string, sources: MetricSources) => ProcessMetrics | undefined;
  /** Of a process whose container ends: the next one counts from 0. */
  readonly forget: (processId: string) => void;
};

/** What needs more than one look. */
type Sample = Pick<ProcessMetrics, "memoryBytes" | "pids"> & {
  readonly counted: Counted | undefined;
  readonly cpuUsageUs: number;
  readonly atMs: number;
  readonly trafficBytes: number;
};

/** A process that used no processor time and whose wire was silent has what it had: its memory, tasks and connections
 * are not read again, except after so long, for what the kernel changes by itself, such as by taking memory back. */
const FULL_EVERY_MS = 60_000;

/** On a node with hundreds of processes most sleep, and one file of each is read in place of six. */
export function createSampler(
  cgroups: Pick<Cgroups, "readUsage" | "readCpuUs" | "readCounters">,
): Sampler {
  const counters = createSlowCounters(cgroups);
  const samples = new Map<string, Sample>();
  const sample = (processId: string, sources: MetricSources): Sample | undefined => {
    const known = samples.get(processId);
    if (known !== undefined && isStill(known, sources, cgroups.readCpuUs(processId))) return known;
    const usage = cgroups.readUsage(processId);
    if (usage === undefined) return undefined;
    const { pid, ports, uptimeMs } = sources;
    const now = { ports, uptimeMs, before: known?.counted };
    return {
      ...usage,
      counted: pid === undefined ? undefined : countConnections(pid, now),
      atMs: uptimeMs,
      trafficBytes: countTraffic(sources),
    };
  };
  return {
    read: (processId, sources) => {
      const found = sample(processId, sources);
      if (found === undefined) return undefined;
      samples.set(processId, found);
      const { atMs: _at, trafficBytes: _trafficBytes, counted, ...usage } = found;
      const { traffic, uptimeMs } = sources;
      return {
        ...usage,
        ...(counted === undefined ? {} : { connections: counted.connections }),
        ...counters.read(processId, { uptimeMs, isStill: found.atMs !== uptimeMs }),
        networkRxBytes: traffic?.rxBytes ?? 0,
        networkTxBytes: traffic?.txBytes ?? 0,
        networkRxDropped: traffic?.rxDropped ?? 0,
        networkTxDropped: traffic?.txDropped ?? 0,
        sampledAtMs: uptimeMs,
      };
    },
    forget: (processId) => {
      samples.delete(processId);
      counters.forget(processId);
    },
  };
}

function isStill(known: Sample, sources: MetricSources, cpuUsageUs: number | undefined): boolean {
  return (
    known.cpuUsageUs === cpuUsageUs &&
    known.trafficBytes === countTraffic(sources) &&
    sources.uptimeMs - known.atMs < FULL_EVERY_MS
  );
}

/** What tells that a connection may have come or gone; without a port none is counted. */
function countTraffic({ traffic, ports }: MetricSources): number {
  return traffic === undefined || ports.length === 0 ? 0 : traffic.rxBytes + traffic.txBytes;
}

/** Since the boot of the kernel: goes on over restarts of the agent, and no change of the calendar's clock moves it. */
export function readUptimeMs(): number {
  const [seconds = ""] = readFileSync("/proc/uptime", "utf8").split(" ");
  return Math.round(Number(seconds) * 1000);
}
