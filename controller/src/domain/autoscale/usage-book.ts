/** What processes used last, as their agents reported it: the samples of level 1. Kept in memory, since old samples
 * are worth nothing; after a start of the controller the metrics are missing for one or two beats. */
import type { Limits, ProcessMetrics, Report } from "@strata/protocol/agent/messages";

import type { ProcessTraffic, TrafficBook } from "../network/traffic-book.ts";
import type { Sample } from "./l1/model.ts";
import {
  admitSamples,
  type CpuReading,
  cpuPercent,
  forgetSamples,
  type SampleLog,
} from "./l1/samples.ts";

export type UsageBook = {
  /** Takes in what one node reports. Repeated and late samples change nothing. */
  readonly take: (nodeId: string, report: TakenReport, receivedAt: number) => void;
  /** The newest sample of a process; null when there is none. Values: `cpu` and `memory` in per cent of the limits
   * given, `in-flight` as connections or, for what an ingress leads requests to, as those, and `requests` a second; one
   * that is not known is left out. */
  readonly sampleOf: (process: ProcessKey, limits: Limits) => Sample | null;
  readonly forget: (nodeId: string) => void;
  /** Nodes that brought samples since the last call. */
  readonly takeFresh: () => ReadonlySet<string>;
};

export type TakenReport = Pick<Report, "bootId" | "processes">;
export type ProcessKey = { readonly id: string; readonly nodeId: string | null };

type NodeUsage = {
  readonly bootId: string;
  log: SampleLog;
  readonly cpu: Map<string, readonly CpuReading[]>;
};

/** Processor use is measured over at least this long: reports may come in quick succession, and the kernel counts
 * in ticks. */
const CPU_SPAN_MS_MIN = 500;
const CPU_READINGS_MAX = 16;

/** `traffic` is what ingress nodes count; left out, nothing is led through any. */
export function createUsageBook(traffic?: Pick<TrafficBook, "ofProcess" | "noteTime">): UsageBook {
  const nodes = new Map<string, NodeUsage>();
  const fresh = new Set<string>();
  return {
    take: (nodeId, { bootId, processes }, receivedAt) => {
      traffic?.noteTime(receivedAt);
      const known = nodes.get(nodeId);
      // Sequences are uptimes: after a reboot of the node they begin anew.
      const node: NodeUsage =
        known?.bootId === bootId ? known : { bootId, log: {}, cpu: new Map() };
      nodes.set(nodeId, node);
      const held = new Set(processes.map(({ processId }) => processId));
      for (const id of node.cpu.keys()) if (!held.has(id)) node.cpu.delete(id);
      const batch = processes.flatMap(({ processId, ready, metrics }) => {
        if (metrics?.sampledAtMs === undefined) return [];
        const at = metrics.sampledAtMs;
        return [{ processId, sequence: at, at, ready, values: rawValues(metrics) }];
      });
      node.log = admitSamples(forgetSamples(node.log, held), batch, receivedAt);
      for (const { processId, metrics } of processes) {
        if (metrics?.sampledAtMs === undefined) continue;
        const reading = { at: metrics.sampledAtMs, usageUs: metrics.cpuUsageUs };
        node.cpu.set(processId, addReading(node.cpu.get(processId) ?? [], reading));
      }
      if (batch.length > 0) fresh.add(nodeId);
    },
    sampleOf: ({ id, nodeId }, limits) => {
      const node = nodes.get(nodeId ?? "");
      const sample = node?.log[id];
      if (node === undefined || sample === undefined) return null;
      const values = percentValues(sample, node.cpu.get(id) ?? [], limits);
      return { ...sample, values: { ...values, ...trafficValues(traffic?.ofProcess(id)) } };
    },
    forget: (nodeId) => {
      nodes.delete(nodeId);
      fresh.delete(nodeId);
    },
    takeFresh: () => {
      const taken = new Set(fresh);
      fresh.clear();
      return taken;
    },
  };
}

function rawValues({ memoryBytes, connections }: ProcessMetrics): Record<string, number> {
  return { memoryBytes, ...(connections === undefined ? {} : { "in-flight": connections }) };
}

/** What goes through an ingress takes the place of connections, which stay open between requests. */
function trafficValues(traffic: ProcessTraffic | undefined): Record<string, number> {
  if (traffic === undefined) return {};
  const { inFlight, requests } = traffic;
  return {
    ...(inFlight === undefined ? {} : { "in-flight": round(inFlight) }),
    ...(requests === undefined ? {} : { requests: round(requests) }),
  };
}

function percentValues(
  { values }: Sample,
  cpu: readonly CpuReading[],
  { cpuMaxMillis, memoryMaxBytes }: Limits,
): Record<string, number> {
  const [earlier] = cpu;
  const later = cpu.at(-1);
  const used =
    earlier === undefined || later === undefined
      ? undefined
      : cpuPercent({ earlier, later }, cpuMaxMillis);
  const { memoryBytes = 0, "in-flight": inFlight } = values;
  return {
    ...(used === undefined ? {} : { cpu: round(used) }),
    memory: round((100 * memoryBytes) / memoryMaxBytes),
    ...(inFlight === undefined ? {} : { "in-flight": inFlight }),
  };
}

/** The readings that the newest one is measured against: the first is the youngest that is old enough. */
function addReading(readings: readonly CpuReading[], reading: CpuReading): readonly CpuReading[] {
  const last = readings.at(-1);
  // Counted anew since then: another run of the process.
  if (last !== undefined && reading.usageUs < last.usageUs) return [reading];
  if (last !== undefined && reading.at <= last.at) return readings;
  const from = readings.findLastIndex(({ at }) => at <= reading.at - CPU_SPAN_MS_MIN);
  const kept = readings.slice(Math.max(0, from));
  return [...kept.slice(0, CPU_READINGS_MAX - 1), reading];
}

/** Stored with every decision: more digits only fill the disk. */
function round(value: number): number {
  return Math.round(value * 100) / 100;
}
