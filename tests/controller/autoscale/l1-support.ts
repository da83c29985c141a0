/** Builders for level 1, and a small world in which it runs against a load. */
import { decide } from "@strata/controller/domain/autoscale/l1/decide";
import {
  type History,
  INITIAL_L1_STATE,
  type L1Decision,
  type L1State,
  type ProcessView,
  type ScalingPolicy,
} from "@strata/controller/domain/autoscale/l1/model";
import type { RecordedStep } from "@strata/controller/domain/autoscale/l1/replay";
import { ScalingPolicyInput } from "@strata/protocol/api/autoscale";

/** A Monday, 00:00 UTC. */
export const START = Date.UTC(2026, 10, 23);
export const SECOND = 1000;

export function aPolicy(input: Record<string, unknown> = {}): ScalingPolicy {
  return ScalingPolicyInput.parse({
    max: 100,
    metrics: [{ kind: "in-flight", target: 10 }],
    ...input,
  });
}

export function aHistory(parts: Partial<History> = {}): History {
  return {
    current: parts.processes?.length ?? 0,
    ready: parts.processes?.filter(({ ready }) => ready).length ?? 0,
    live: parts.processes?.length ?? 0,
    processes: [],
    draining: 0,
    readings: [],
    seasonal: {},
    startP90Ms: null,
    warmUpMs: null,
    rollingOut: false,
    ...parts,
  };
}

/** Warmed-up processes with one value each of one metric; `null` is a process whose sample is missing. */
export function processesWith(
  metric: string,
  values: readonly (number | null)[],
  now = START,
): readonly ProcessView[] {
  return values.map((value, index) => ({
    id: `p${index}`,
    ready: true,
    firstReadyAt: now - 3_600_000,
    sample:
      value === null ? null : { sequence: now, at: now, ready: true, values: { [metric]: value } },
  }));
}

/** One decision with nothing before it. */
export function decideOnce(policy: ScalingPolicy, history: History, now = START): L1Decision {
  return decide({ policy, history, state: INITIAL_L1_STATE, now });
}

export type World = {
  readonly policy: ScalingPolicy;
  /** Total in flight, `ms` after the start. */
  readonly load: (ms: number) => number;
  readonly durationMs: number;
  readonly initial?: number;
  /** From the wish to a ready process. */
  readonly startMs?: number;
  /** Changes what the scaler is told, such as an outage of the samples. */
  readonly distort?: (history: History, ms: number) => History;
  /** Applied to the state between decisions, such as a restart. */
  readonly between?: (state: L1State, ms: number) => L1State;
};

export type Run = {
  readonly counts: readonly {
    readonly ms: number;
    readonly count: number;
    readonly ready: number;
  }[];
  readonly steps: readonly RecordedStep[];
  readonly decisions: readonly L1Decision[];
};

/** Decides once in every sampling interval; every process carries an equal part of the load. */
export function runWorld(world: World): Run {
  const { policy, load, durationMs, initial = 1, startMs = 4000 } = world;
  const born: number[] = Array.from({ length: initial }, () => START - 3_600_000);
  let state = INITIAL_L1_STATE;
  const counts: { ms: number; count: number; ready: number }[] = [];
  const steps: RecordedStep[] = [];
  const decisions: L1Decision[] = [];
  for (let ms = 0; ms <= durationMs; ms += policy.sampleInterval) {
    const now = START + ms;
    const honest = historyOf({ born, startMs, now, load: load(ms) });
    const history = world.distort?.(honest, ms) ?? honest;
    const decision = decide({ policy, history, state, now });
    state = world.between?.(decision.state, ms) ?? decision.state;
    steps.push({ now, history });
    decisions.push(decision);
    const count = decision.act ? decision.desired : born.length;
    while (born.length < count) born.push(now);
    born.length = count;
    counts.push({
      ms,
      count: born.length,
      ready: honest.processes.filter(({ ready }) => ready).length,
    });
  }
  return { counts, steps, decisions };
}

function historyOf(world: {
  readonly born: readonly number[];
  readonly startMs: number;
  readonly now: number;
  readonly load: number;
}): History {
  const { born, startMs, now, load } = world;
  const ready = born.filter((at) => at + startMs <= now).length;
  const processes = born.map((at, index): ProcessView => {
    const isReady = at + startMs <= now;
    return {
      id: `p${index}`,
      ready: isReady,
      firstReadyAt: isReady ? at + startMs : null,
      sample: isReady
        ? { sequence: now, at: now, ready: true, values: { "in-flight": load / ready } }
        : null,
    };
  });
  // The ingress counts what waits for a sleeping subscription.
  const readings = ready === 0 ? [{ metric: "in-flight", value: load, at: now }] : [];
  return aHistory({ current: born.length, processes, readings });
}

/** How often the count turned from growing to shrinking or back. */
export function directionChanges(counts: readonly { readonly count: number }[]): number {
  let changes = 0;
  let direction = 0;
  counts.forEach(({ count }, index) => {
    const step = Math.sign(count - (counts[index - 1]?.count ?? count));
    if (step === 0) return;
    if (direction !== 0 && step !== direction) changes += 1;
    direction = step;
  });
  return changes;
}
