import type { CgroupCounters, Cgroups } from "../cgroup/cgroups.ts";

/** Reads of a process's counters are this far apart: up to seven files each, which nobody looks at more often. */
const READ_EVERY_MS = 10_000;

type Reading = { readonly atMs: number; readonly counters: CgroupCounters };

export type SlowCounters = {
  /** As they were at most 10 s before `uptimeMs`. */
  readonly read: (processId: string, uptimeMs: number) => CgroupCounters;
  /** Of a process whose container ends: the next one counts from 0. */
  readonly forget: (processId: string) => void;
};

export function createSlowCounters(cgroups: Pick<Cgroups, "readCounters">): SlowCounters {
  const readings = new Map<string, Reading>();
  return {
    read: (processId, uptimeMs) => {
      const known = readings.get(processId);
      if (known !== undefined && uptimeMs - known.atMs < READ_EVERY_MS) return known.counters;
      const counters = cgroups.readCounters(processId);
      readings.set(processId, { atMs: uptimeMs, counters });
      return counters;
    },
    forget: (processId) => void readings.delete(processId),
  };
}
