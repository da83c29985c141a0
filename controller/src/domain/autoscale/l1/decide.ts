/** Level 1: how many processes a subscription has. */
import { type Activity, activityOf, asksForZero, staysAwake } from "./activation.ts";
import { type Bounds, boundsAt } from "./bounds.ts";
import { combine, panicRaw, panicStarts, type Raw, seasonalFloor } from "./combine.ts";
import { limit, type Limited } from "./limit.ts";
import { horizonMs, type Measurement, measure, type Situation } from "./measure.ts";
import type {
  ForecastError,
  L1Decision,
  L1State,
  L1Trace,
  PendingAction,
  Recommendation,
} from "./model.ts";
import { nextPending, stillPending } from "./pending.ts";
import { rateBounds, recordChange } from "./rates.ts";
import { reasonOf } from "./reason.ts";
import { recordForecastError } from "./seasonal.ts";
import { recommend, stabilise } from "./stabilise.ts";

/** What is known before any limiter has its say. */
type Assessment = {
  readonly measurements: readonly Measurement[];
  readonly bounds: Bounds;
  readonly activity: Activity;
  /** Last time that the panic condition held, if that still matters. */
  readonly panicAt: number | null;
  readonly raw: Raw;
  readonly recommendations: readonly Recommendation[];
  readonly pending: PendingAction | null;
};

/** Decides once. Pure: the same four inputs always give the same decision, so a stored trace can be replayed. Call
 * it once in every sampling interval, and store `state` in the same transaction as the wish. */
export function decide(situation: Situation): L1Decision {
  const assessment = assess(situation);
  const limited = limitAll(assessment, situation);
  const trace = traceOf(assessment, limited, situation);
  return {
    desired: limited.desired,
    reason: reasonOf(trace, limited.desired, situation.policy),
    trace,
    limiter: limited.limits.at(-1)?.limiter ?? null,
    act: !situation.policy.dryRun,
    state: nextState(assessment, limited.desired, situation),
  };
}

/** Rule 9: a count set by hand is left alone until `until`. */
export function pausePolicy(state: L1State, until: number): L1State {
  return { ...state, pausedUntil: until, pending: null };
}

function assess(situation: Situation): Assessment {
  const { policy, history, state, now } = situation;
  const measurements = policy.metrics.map((metric) => measure(metric, situation));
  const metrics = measurements.map(({ trace }) => trace);
  const bounds = boundsAt(policy, state.activeSchedules, now);
  const activity = activityOf(measurements, situation);
  const stable = combine(metrics, { policy, current: history.current });
  const panic = panicRaw(metrics);
  const panicAt =
    panic !== undefined && panicStarts(panic, { policy, ready: history.ready })
      ? now
      : leavePanic(situation);
  const higher =
    panicAt !== null && panic !== undefined && panic.count > stable.count ? panic : stable;
  const zero = bounds.min === 0 && asksForZero(activity, higher, situation);
  const load: Raw = zero ? { ...higher, count: 0 } : higher;
  const { initialMin } = bounds;
  const raw: Raw =
    initialMin > load.count ? { count: initialMin, source: { kind: "schedule" } } : load;
  return {
    measurements,
    bounds,
    activity,
    panicAt,
    raw,
    recommendations: recommend(state.recommendations, raw.count, situation),
    pending: stillPending(state.pending, history, situation),
  };
}

function limitAll(assessment: Assessment, situation: Situation): Limited {
  const { history, state, now } = situation;
  const { measurements, activity, raw, recommendations } = assessment;
  return limit(raw.count, {
    current: history.current,
    metricFailed: measurements.some(({ trace }) => trace.failures > 0 && !trace.fallback),
    stabilised: stabilise(recommendations, history.current, situation),
    panicking: assessment.panicAt !== null,
    rollingOut: history.rollingOut,
    awake: assessment.bounds.min === 0 && staysAwake(activity, situation),
    pending: assessment.pending,
    rate: rateBounds(state.changes, history.current, situation),
    bounds: assessment.bounds,
    paused: state.pausedUntil !== null && now < state.pausedUntil,
  });
}

function traceOf(assessment: Assessment, limited: Limited, situation: Situation): L1Trace {
  const { policy, history, now } = situation;
  const { measurements, bounds, panicAt, raw } = assessment;
  const metrics = measurements.map(({ trace }) => trace);
  return {
    at: now,
    current: history.current,
    ready: history.ready,
    bounds: { min: bounds.min, max: bounds.max, schedules: bounds.schedules },
    metrics,
    horizonMs: horizonMs(policy, history),
    panicking: panicAt !== null,
    floor: seasonalFloor(metrics),
    raw: raw.count,
    source: sourceOf(assessment, history.current),
    limits: limited.limits,
  };
}

function nextState(assessment: Assessment, desired: number, situation: Situation): L1State {
  const { policy, history, state, now } = situation;
  const { measurements, bounds, pending } = assessment;
  const { current } = history;
  return {
    version: 1,
    series: Object.fromEntries(measurements.map(({ trace, series }) => [trace.metric, series])),
    past: Object.fromEntries(measurements.map(({ trace, past }) => [trace.metric, past])),
    trends: trendsOf(measurements),
    failures: failuresOf(measurements),
    panicAt: assessment.panicAt,
    idleSince: assessment.activity.idleSince,
    recommendations: assessment.recommendations,
    // Nothing acts on a dry run, so nothing has changed and nothing is under way.
    changes: recordChange(state.changes, policy.dryRun ? 0 : desired - current, situation),
    pending: policy.dryRun ? null : nextPending(pending, { current, desired, now }),
    pausedUntil: state.pausedUntil,
    activeSchedules: bounds.schedules,
    forecastErrors: forecastErrorsOf(measurements, state),
  };
}

/** One whole stable window must pass without the condition. */
function leavePanic({ policy, state, now }: Situation): number | null {
  return state.panicAt !== null && now - state.panicAt < policy.stableWindow ? state.panicAt : null;
}

function sourceOf({ raw, activity }: Assessment, current: number): L1Trace["source"] {
  return current === 0 && activity.wanted && raw.count <= 1 ? { kind: "wake" } : raw.source;
}

function trendsOf(measurements: readonly Measurement[]): L1State["trends"] {
  return Object.fromEntries(
    measurements.flatMap(({ trace, trend }) => (trend === null ? [] : [[trace.metric, trend]])),
  );
}

function failuresOf(measurements: readonly Measurement[]): L1State["failures"] {
  return Object.fromEntries(
    measurements.flatMap(({ trace, failure }) =>
      failure === null ? [] : [[trace.metric, failure]],
    ),
  );
}

function forecastErrorsOf(
  measurements: readonly Measurement[],
  state: L1State,
): readonly ForecastError[] {
  return measurements.reduce<readonly ForecastError[]>(
    (errors, { trace: { metric, seasonalLoad }, point }) =>
      point === null || seasonalLoad === null
        ? errors
        : recordForecastError(errors, { metric, point, forecast: seasonalLoad }),
    state.forecastErrors,
  );
}
