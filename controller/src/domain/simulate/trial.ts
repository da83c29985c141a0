import type { History, L1Decision, L1State, ScalingPolicy } from "../autoscale/l1/model.ts";
import { replay } from "../autoscale/l1/replay.ts";
/** A policy tried on what has been: the stored decisions again, or their samples played to another policy. */
import { isSame } from "../canonical.ts";
import { replaySamples, type SampleReplay } from "./replay-samples.ts";
import { pointOf, type RunSeries } from "./series.ts";

/** One decision as it was live. */
export type LivedDecision = {
  readonly at: number;
  readonly desired: number;
  readonly reason: string;
  readonly history: History;
};

export type Trial = { readonly name: string; readonly policy: ScalingPolicy } & (
  | { readonly mode: "replay"; readonly lived: readonly LivedDecision[]; readonly state: L1State }
  | { readonly mode: "simulation"; readonly samples: SampleReplay }
);

export type TrialResult = {
  readonly mode: Trial["mode"];
  readonly decisions: number;
  /** Of a replay: those that came out as they were live. */
  readonly same: number | null;
  readonly changes: number;
  readonly highest: number;
  readonly processHours: number;
  readonly last: Pick<L1Decision, "desired" | "reason" | "limiter"> | null;
  readonly series: RunSeries;
};

const POINTS_MAX = 720;

/** Pure, and as long as its trace: run it where nobody waits. */
export function runTrial(trial: Trial): TrialResult {
  return trial.mode === "replay" ? runReplay(trial) : runSimulation(trial);
}

function runSimulation({
  name,
  policy,
  samples,
}: Extract<Trial, { readonly mode: "simulation" }>): TrialResult {
  const { series, last, changes, highest, processHours, decisions } = replaySamples(
    policy,
    samples,
  );
  return {
    mode: "simulation",
    decisions,
    same: null,
    changes,
    highest,
    processHours,
    last: last && lastOf(last),
    series: { ...series, name },
  };
}

function runReplay({
  name,
  policy,
  lived,
  state,
}: Extract<Trial, { readonly mode: "replay" }>): TrialResult {
  const steps = lived.map(({ at, history }) => ({ now: at, history }));
  const decisions = replay(policy, steps, state);
  const start = lived[0]?.at ?? 0;
  const step = Math.max(1, Math.ceil(decisions.length / POINTS_MAX));
  const last = decisions.at(-1);
  return {
    mode: "replay",
    decisions: decisions.length,
    same: decisions.filter(({ desired, reason }, index) =>
      isSame({ desired, reason }, { desired: lived[index]?.desired, reason: lived[index]?.reason }),
    ).length,
    changes: decisions.filter(({ desired, trace }) => desired !== trace.current).length,
    highest: Math.max(0, ...decisions.map(({ desired }) => desired)),
    processHours: hoursOf(decisions),
    last: last === undefined ? null : lastOf(last),
    series: {
      name,
      points: decisions
        .filter((_, index) => index % step === 0 || index === decisions.length - 1)
        .map((decision) =>
          pointOf(decision, {
            at: decision.trace.at - start,
            load: Math.max(0, ...decision.trace.metrics.map(({ load }) => load ?? 0)),
            nodes: null,
          }),
        ),
    },
  };
}

/** Of the wished-for processes. */
function hoursOf(decisions: readonly L1Decision[]): number {
  return decisions.reduce((hours, { desired, trace }, index) => {
    const until = decisions[index + 1]?.trace.at ?? trace.at;
    return hours + (desired * (until - trace.at)) / 3_600_000;
  }, 0);
}

function lastOf({ desired, reason, limiter }: L1Decision): NonNullable<TrialResult["last"]> {
  return { desired, reason, limiter };
}
