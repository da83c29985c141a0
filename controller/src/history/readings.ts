/** From what agents report to figures as they are kept: counters become rates, processes add up to groups. Pure. */
import type { ProcessMetrics } from "@strata/protocol/agent/messages";

import {
  countColumn,
  GROUP_COLUMNS,
  PROCESS_COLUMNS,
  processMetrics,
  shareColumn,
} from "./series.ts";

/** In the order of `processMetrics`; NaN for what is not known. */
export type Values = Float32Array;

/** What a process used, from two samples of it: processor time in thousandths of a processor, traffic in bytes per
 * second. Undefined when the later one is no newer. */
export function valuesOf(
  earlier: ProcessMetrics | undefined,
  later: ProcessMetrics,
): Values | undefined {
  const elapsedMs = (later.sampledAtMs ?? NaN) - (earlier?.sampledAtMs ?? NaN);
  if (elapsedMs <= 0) return undefined;
  const rate = (before: number | undefined, now: number | undefined): number => {
    const used = (now ?? NaN) - (before ?? NaN);
    // Counted anew since then: another run of the process.
    return used < 0 ? NaN : (used * 1000) / elapsedMs;
  };
  return new Float32Array([
    // Microseconds in a second, of which a thousandth of a processor has a thousand.
    rate(earlier?.cpuUsageUs, later.cpuUsageUs) / 1000,
    later.memoryBytes,
    later.pids,
    rate(earlier?.networkRxBytes, later.networkRxBytes),
    rate(earlier?.networkTxBytes, later.networkTxBytes),
    rate(earlier?.ioReadBytes, later.ioReadBytes),
    rate(earlier?.ioWriteBytes, later.ioWriteBytes),
    later.connections ?? NaN,
  ]);
}

export function emptyGroup(): Values {
  return new Float32Array(GROUP_COLUMNS).fill(NaN);
}

/** Adds a process to the group it belongs to, in place: this runs for every process at every tick. */
export function addToGroup(group: Values, values: Values): void {
  const counted = countColumn("processes");
  group[counted] = known(group[counted]) + 1;
  for (let at = 0; at < PROCESS_COLUMNS; at += 1) {
    const value = values[at] ?? NaN;
    const metric = processMetrics[at];
    if (Number.isNaN(value) || metric === undefined) continue;
    const sum = shareColumn(metric, "sum");
    const max = shareColumn(metric, "max");
    const min = shareColumn(metric, "min");
    group[sum] = known(group[sum]) + value;
    group[max] = Math.max(known(group[max], value), value);
    group[min] = Math.min(known(group[min], value), value);
  }
}

function known(value: number | undefined, otherwise = 0): number {
  return value === undefined || Number.isNaN(value) ? otherwise : value;
}
