import type { PlannedProcess } from "@strata/controller/domain/planned-process";

/** One that runs and is ready, but for `changes`. */
export function aPlannedProcess(changes: Partial<PlannedProcess> = {}): PlannedProcess {
  return {
    id: "p-1",
    generation: 1,
    desired: "running",
    state: "running",
    ready: true,
    readyMs: 60_000,
    whereabouts: "here",
    nodeId: "n-1",
    attempt: 0,
    inStateMs: 0,
    createdAt: "2026-01-01T00:00:00.000Z",
    drain: null,
    load: { inFlight: undefined, cpuPercent: 0 },
    ...changes,
  };
}
