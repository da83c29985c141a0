import type { Probe } from "@strata/protocol/agent/probes";

import { type Answer, beginHealth, type HealthState, isAsked, takeAnswer } from "./health-state.ts";
import { type ProbeName, probeNames, type ProbePlan } from "./probe-plan.ts";
import { growWait, waitForTurn } from "./probe-timing.ts";

/** Asks one application; undefined where there is no saying, as of one that is frozen. Never rejects. Ends early when
 * the signal says so, and leaves nothing behind. */
export type Ask = (
  question: { readonly name: ProbeName; readonly probe: Probe },
  signal: AbortSignal,
) => Promise<Answer | undefined>;

export type HealthWatch = Disposable & { readonly state: () => HealthState };

export type HealthWatchOptions = {
  readonly ask: Ask;
  /** Another life of the agent saw it past its startup probe. */
  readonly wasStarted: boolean;
  /** It was ready when it was frozen, and nobody can ask it since. */
  readonly wasReady?: boolean;
  /** Called whenever it starts, becomes ready or stops being it, or is to be ended. */
  readonly onChange: (state: HealthState) => void;
};

/** Numbers the probes of this program. */
let turns = 0;

/** Asks until disposed, or until the answers say that the process is to be ended; one question of each probe at a time.
 * Without probes it is ready at once. */
export function watchHealth(plan: ProbePlan, options: HealthWatchOptions): HealthWatch {
  const { ask, wasStarted, wasReady = false, onChange } = options;
  let beganMs = performance.now();
  const end = new AbortController();
  const timers = new Map<ProbeName, NodeJS.Timeout>();
  let state = beginHealth(plan, { wasStarted, wasReady });

  const begin = (name: ProbeName): void => {
    const probe = plan[name];
    if (probe === undefined || !isAsked(plan, state, name)) return;
    turns += 1;
    const turn = turns;
    const next = (waitMs: number, grownMs?: number): void =>
      void timers.set(
        name,
        setTimeout(() => void check(grownMs), waitMs),
      );
    const check = async (grownMs: number | undefined): Promise<void> => {
      const answer = await ask({ name, probe }, end.signal);
      if (end.signal.aborted) return;
      if (answer !== undefined) take(name, answer);
      // What nobody lets run has all its time when it does.
      else beganMs = performance.now();
      if (!isAsked(plan, state, name)) return;
      const isSettled = name === "liveness" || state.isReady || answer?.isWell === true;
      const waitMs = isSettled ? probe.intervalMs : growWait(grownMs, probe);
      if (waitMs < probe.intervalMs) next(waitMs, waitMs);
      else next(waitForTurn(probe, { nowMs: performance.now(), turn }), waitMs);
    };
    // A process that has only just begun is seldom dead.
    if (name === "liveness") next(waitForTurn(probe, { nowMs: performance.now(), turn }));
    else void check(undefined);
  };
  const take = (name: ProbeName, answer: Answer): void => {
    const before = state;
    state = takeAnswer(plan, before, { name, answer, elapsedMs: performance.now() - beganMs });
    const isNews =
      state.isStarted !== before.isStarted ||
      state.isReady !== before.isReady ||
      state.failing !== before.failing;
    if (!isNews) return;
    onChange(state);
    if (state.isStarted && !before.isStarted) for (const after of probeNames) begin(after);
  };
  for (const name of probeNames) begin(name);
  return {
    state: () => state,
    [Symbol.dispose]: () => {
      end.abort();
      for (const timer of timers.values()) clearTimeout(timer);
    },
  };
}
