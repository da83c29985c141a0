import type { PlannedProcess, Wish } from "@strata/controller/domain/planned-process";

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
    mayBeAsked: false,
    drain: null,
    sleep: null,
    load: { inFlight: undefined, cpuPercent: 0 },
    ...changes,
  };
}

/** One process of the first generation, but for `changes`. */
export function aWish(changes: Partial<Wish> = {}): Wish {
  return {
    count: 1,
    isAsleep: false,
    generation: 1,
    surge: 1,
    unavailable: 0,
    minReadyMs: 0,
    hold: null,
    held: false,
    drains: true,
    processesOnNode: {},
    resizable: new Set(),
    ...changes,
  };
}
