/** What a policy would have done with given samples: `POST …/simulate` and `strata policy simulate`. There are no
 * nodes here; every wished-for process is ready after its start time. */
import { metricKey } from "@strata/protocol/api/autoscale";

import { decide } from "../autoscale/l1/decide.ts";
import {
  type History,
  INITIAL_L1_STATE,
  type L1Decision,
  type L1State,
  type Reading,
  type ScalingPolicy,
} from "../autoscale/l1/model.ts";
import { beginSeason, lookUp, NOTHING_USUAL, observeSeason, turnSeason } from "./season.ts";
import { pointOf, type RunSeries, type SeriesPoint } from "./series.ts";
import type { TraceSample } from "./trace.ts";

/** Decisions of one replay; more would take longer than anybody waits. */
const DECISIONS_MAX = 500_000;
const POINTS_MAX = 720;

export type SampleReplay = {
  /** By metric key: totals over the whole subscription. `cpu` and `memory` are sums of per cent of a process's limit. */
  readonly samples: Readonly<Record<string, readonly TraceSample[]>>;
  /** Time of the samples' zero. */
  readonly startedAt: number;
  readonly initial: number;
  /** From a wish to a ready process. */
  readonly startMs: number;
};

export type SampleReplayResult = {
  readonly series: RunSeries;
  readonly last: L1Decision | null;
  /** Decisions that changed the count. */
  readonly changes: number;
  readonly highest: number;
  /** The wished-for processes, times hours. */
  readonly processHours: number;
  readonly decisions: number;
};

/** Decides once in every sampling interval from the first sample to the last. A gap in the samples is an outage of
 * the metric, as it would be live. */
export function replaySamples(policy: ScalingPolicy, replay: SampleReplay): SampleReplayResult {
  const duration = Math.max(
    0,
    ...Object.values(replay.samples).map((list) => list.at(-1)?.at ?? 0),
  );
  const steps = Math.min(DECISIONS_MAX, Math.floor(duration / policy.sampleInterval) + 1);
  const run = createRun(policy, replay);
  const points: SeriesPoint[] = [];
  let last: L1Decision | null = null;
  for (let step = 0; step < steps; step += 1) {
    const at = step * policy.sampleInterval;
    last = run.step(at);
    if (at >= (points.length * duration) / POINTS_MAX) {
      const load = last.trace.metrics.reduce(
        (highest, metric) => Math.max(highest, metric.load ?? 0),
        0,
      );
      points.push(pointOf(last, { at, load, nodes: null }));
    }
  }
  return { series: { name: "replay", points }, last, decisions: steps, ...run.totals };
}

type Run = {
  readonly step: (at: number) => L1Decision;
  readonly totals: { changes: number; highest: number; processHours: number };
};

function createRun(
  policy: ScalingPolicy,
  { samples, startedAt, initial, startMs }: SampleReplay,
): Run {
  const totals = { changes: 0, highest: initial, processHours: 0 };
  const cursors = new Map<string, number>();
  const born: number[] = Array.from({ length: initial }, () => startedAt - startMs);
  let state: L1State = INITIAL_L1_STATE;
  let season = beginSeason();
  let usual = NOTHING_USUAL;
  const step = (at: number): L1Decision => {
    const now = startedAt + at;
    season = turnSeason(season, policy, now);
    const { seasonal } = policy;
    usual = lookUp(usual, { history: season.history, seasonal, at: now + startMs });
    const readings = policy.metrics.flatMap((metric) =>
      readAt(metricKey(metric), { samples, cursors, at, startedAt }),
    );
    const history = historyOf({ born, startMs, now, readings, seasonal: usual.loads });
    const decision = decide({ policy, history, state, now });
    ({ state } = decision);
    observeSeason(season, decision.trace);
    if (decision.desired !== born.length) totals.changes += 1;
    while (born.length < decision.desired) born.push(now);
    born.length = decision.desired;
    totals.highest = Math.max(totals.highest, born.length);
    totals.processHours += (born.length * policy.sampleInterval) / 3_600_000;
    return decision;
  };
  return { step, totals };
}

function historyOf(world: {
  readonly born: readonly number[];
  readonly startMs: number;
  readonly now: number;
  readonly readings: readonly Reading[];
  readonly seasonal: Readonly<Record<string, number>>;
}): History {
  const { born, startMs, now, readings, seasonal } = world;
  return {
    current: born.length,
    ready: born.filter((at) => at + startMs <= now).length,
    live: born.length,
    draining: 0,
    processes: [],
    readings,
    seasonal,
    startP90Ms: startMs,
    warmUpMs: null,
    rollingOut: false,
  };
}

/** The newest sample that is not later than `at`. */
function readAt(
  metric: string,
  {
    samples,
    cursors,
    at,
    startedAt,
  }: {
    readonly samples: SampleReplay["samples"];
    readonly cursors: Map<string, number>;
    readonly at: number;
    readonly startedAt: number;
  },
): readonly Reading[] {
  const list = samples[metric] ?? [];
  let cursor = cursors.get(metric) ?? -1;
  while ((list[cursor + 1]?.at ?? Infinity) <= at) cursor += 1;
  cursors.set(metric, cursor);
  const sample = list[cursor];
  return sample === undefined ? [] : [{ metric, value: sample.value, at: startedAt + sample.at }];
}
