/** Rule 1: what may enter a decision. Agents' clocks may be wrong by any amount, and batches may come late,
 * twice or out of order; none of that may change a count. */
import type { Sample } from "./model.ts";

export type ReportedSample = Sample & { readonly processId: string };

export type SampleLog = Readonly<Record<string, Sample>>;

/** Adds a batch that one agent sent, and returns the newest sample of each process.
 *
 * The agent's clock only says how far apart samples of one batch are: the newest is taken to be as old as its
 * arrival, so a skewed clock moves nothing. `sequence` must go on growing over a restart of the agent. */
export function admitSamples(
  log: SampleLog,
  batch: readonly ReportedSample[],
  receivedAt: number,
): SampleLog {
  const newest = batch.reduce((latest, sample) => Math.max(latest, sample.at), -Infinity);
  const admitted: Record<string, Sample> = { ...log };
  for (const { processId, ...sample } of batch) {
    const known = admitted[processId];
    if (known !== undefined && known.sequence >= sample.sequence) continue;
    admitted[processId] = { ...sample, at: receivedAt - (newest - sample.at) };
  }
  return admitted;
}

/** Leaves only the samples of processes that still exist. */
export function forgetSamples(log: SampleLog, processIds: ReadonlySet<string>): SampleLog {
  return Object.fromEntries(Object.entries(log).filter(([id]) => processIds.has(id)));
}

export type CpuReading = { readonly at: number; readonly usageUs: number };

/** Per cent of the limit used between two readings of a cgroup's counter; undefined when the counter went back
 * (a new run of the process) or no time has passed. Both times are of one clock, so skew does not matter. */
export function cpuPercent(
  { earlier, later }: { readonly earlier: CpuReading; readonly later: CpuReading },
  limitMillis: number,
): number | undefined {
  const elapsedMs = later.at - earlier.at;
  const usedUs = later.usageUs - earlier.usageUs;
  if (elapsedMs <= 0 || usedUs < 0) return undefined;
  return (100 * usedUs) / (elapsedMs * limitMillis);
}
