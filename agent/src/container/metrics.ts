import { readFileSync } from "node:fs";

import type { ProcessMetrics } from "@strata/protocol/agent/messages";

import type { Cgroups } from "../cgroup/cgroups.ts";
import { readProcFile } from "../host/process-table.ts";
import type { TrafficCounters } from "../network/network.ts";
import type { SlowCounters } from "./slow-counters.ts";

export type MetricSources = {
  readonly cgroups: Cgroups;
  readonly counters: SlowCounters;
  readonly traffic: TrafficCounters | undefined;
  /** As `readUptimeMs` says. */
  readonly uptimeMs: number;
  /** Host pid of the application; undefined when it is gone. */
  readonly pid: number | undefined;
  /** TCP ports in the container. */
  readonly ports: readonly number[];
};

/** What a running process uses now, from the kernel's own files. Undefined when it is gone. */
export function readMetrics(
  processId: string,
  { cgroups, counters, traffic, uptimeMs, pid, ports }: MetricSources,
): ProcessMetrics | undefined {
  const usage = cgroups.readUsage(processId);
  const connections = pid === undefined ? undefined : countConnections(pid, ports);
  return (
    usage && {
      ...usage,
      ...counters.read(processId, uptimeMs),
      networkRxBytes: traffic?.rxBytes ?? 0,
      networkTxBytes: traffic?.txBytes ?? 0,
      networkRxDropped: traffic?.rxDropped ?? 0,
      networkTxDropped: traffic?.txDropped ?? 0,
      sampledAtMs: uptimeMs,
      ...(connections === undefined ? {} : { connections }),
    }
  );
}

/** Since the boot of the kernel: goes on over restarts of the agent, and no change of the calendar's clock moves it. */
export function readUptimeMs(): number {
  const [seconds = ""] = readFileSync("/proc/uptime", "utf8").split(" ");
  return Math.round(Number(seconds) * 1000);
}

/** In the network namespace of the process; undefined when it is gone. */
function countConnections(pid: number, ports: readonly number[]): number | undefined {
  if (ports.length === 0) return 0;
  const tables = ["tcp", "tcp6"].map((name) => readProcFile(`/proc/${pid}/net/${name}`));
  if (tables.every((table) => table === undefined)) return undefined;
  return tables.reduce((sum, table) => sum + countEstablished(table ?? "", new Set(ports)), 0);
}

/** The kernel's number for a connection in both directions (include/net/tcp_states.h). */
const ESTABLISHED = "01";

/** Rows of `/proc/net/tcp` whose own port is one of `ports`. Exported for its test. */
export function countEstablished(table: string, ports: ReadonlySet<number>): number {
  let count = 0;
  for (const line of table.split("\n").slice(1)) {
    const [, local = "", , state] = line.trim().split(/\s+/);
    const port = Number.parseInt(local.slice(local.lastIndexOf(":") + 1), 16);
    if (state === ESTABLISHED && ports.has(port)) count += 1;
  }
  return count;
}
