import type { CgroupCounters, Cgroups } from "../cgroup/cgroups.ts";

/** Reads of a process's counters are this far apart: up to seven files each, which nobody looks at more often. */
const READ_EVERY_MS = 10_000;
/** Of a process that was still at the last read already: what it did before it fell asleep is not held back. */
const READ_STILL_EVERY_MS = 60_000;

type Reading = {
  readonly atMs: number;
  readonly wasStill: boolean;
  readonly counters: CgroupCounters;
};

export type SlowCounters = {
  /** As they were at most 10 s before `uptimeMs`, a minute when the process is still. */
  readonly read: (
    processId: string,
    now: { readonly uptimeMs: number; readonly isStill: boolean },
  ) => CgroupCounters;
  /** Of a process whose container ends: the next one counts from 0. */
  readonly forget: (processId: string) => void;
};

export function createSlowCounters(cgroups: Pick<Cgroups, "readCounters">): SlowCounters {
  const readings = new Map<string, Reading>();
  return {
    read: (processId, { uptimeMs, isStill }) => {
      const known = readings.get(processId);
      const everyMs = isStill && known?.wasStill === true ? READ_STILL_EVERY_MS : READ_EVERY_MS;
      if (known !== undefined && uptimeMs - known.atMs < everyMs) return known.counters;
      const counters = cgroups.readCounters(processId);
      readings.set(processId, { atMs: uptimeMs, wasStill: isStill, counters });
      return counters;
    },
    forget: (processId) => void readings.delete(processId),
  };
}
