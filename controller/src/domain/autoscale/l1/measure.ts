/** Rules 2 to 6 for one metric: what it saw, and how many processes it asks for. */
import { type Metric, metricKey } from "@strata/protocol/api/autoscale";

import { ceilCount } from "../statistics.ts";
import { appendPast, extrapolate, trendOf } from "./forecast.ts";
import type { History, L1State, MetricTrace, Point, ScalingPolicy, Trend } from "./model.ts";
import { needOf } from "./need.ts";
import { metricInterval, type Observation, observe } from "./observe.ts";
import { appendPoint, windowLoad } from "./windows.ts";

export type Measurement = {
  readonly metric: Metric;
  readonly trace: MetricTrace;
  readonly series: readonly Point[];
  readonly past: readonly Point[];
  /** Of `past`; null with too few points, or when the policy forecasts nothing. */
  readonly trend: Trend | null;
  /** Null when nothing fresh is known. */
  readonly point: Point | null;
  readonly failure: { readonly count: number; readonly at: number } | null;
};

export type Situation = {
  readonly policy: ScalingPolicy;
  readonly history: History;
  readonly state: L1State;
  readonly now: number;
};

export function measure(metric: Metric, situation: Situation): Measurement {
  const { policy, history, now } = situation;
  const observation = observe(metric, situation);
  const series = nextSeries(metric, observation, situation);
  const failure = nextFailure(metric, observation, situation);
  const { target } = metric;
  const stable = windowLoad(series, { since: now - policy.stableWindow, target });
  const panic = windowLoad(series, { since: now - policy.panic.window, target });
  const trend = policy.forecast.enabled ? trendOf(series) : null;
  const forecast = trend === null ? null : extrapolate(trend, horizonMs(policy, history));
  const fallback = failure !== null && failure.count >= policy.fallback.after;
  const key = metricKey(metric);
  const sizing = { target, current: history.current, tolerance: policy.tolerance };
  const trace: MetricTrace = {
    metric: key,
    target,
    load: observation.failed ? null : observation.point.sum,
    stableLoad: stable.grow,
    panicLoad: panic.grow,
    missing: observation.failed ? history.current : observation.point.missing,
    need: failure === null ? needOf(stable, sizing) : failedNeed(policy, history.current, fallback),
    panicNeed: failure === null ? ceilCount(panic.grow / target) : 0,
    slope: trend?.slope ?? null,
    forecastLoad: forecast,
    // A falling load asks for nothing here: what has not yet happened never shrinks anything.
    forecastNeed:
      failure === null && forecast !== null && (trend?.slope ?? 0) > 0
        ? needOf({ grow: forecast, shrink: forecast }, sizing)
        : null,
    seasonalLoad: history.seasonal[key] ?? null,
    failures: failure?.count ?? 0,
    fallback,
  };
  const point = observation.failed ? null : observation.point;
  const past = pastOf(key, { load: panic.grow, situation });
  return { metric, trace, series, ...past, point, failure };
}

/** Decision → ready, as measured or, until then, as the policy assumes. */
export function horizonMs(policy: ScalingPolicy, history: History): number {
  return history.startP90Ms ?? policy.forecast.horizon;
}

/** The longer past and its trend. The trend is worth a new look only when a point is complete. */
function pastOf(
  key: string,
  { load, situation }: { readonly load: number; readonly situation: Situation },
): Pick<Measurement, "past" | "trend"> {
  const { policy, state, now } = situation;
  if (!policy.forecast.enabled) return { past: [], trend: null };
  const before = state.past[key] ?? [];
  const past = appendPast(before, { at: now, sum: load, missing: 0 });
  const known = state.trends[key];
  const unchanged = known !== undefined && past.length === before.length && past[0] === before[0];
  return { past, trend: unchanged ? known : trendOf(past) };
}

function nextSeries(
  metric: Metric,
  observation: Observation,
  situation: Situation,
): readonly Point[] {
  const { policy, state } = situation;
  const before = state.series[metricKey(metric)] ?? [];
  if (observation.failed) return before;
  const spans = { intervalMs: policy.sampleInterval, windowMs: policy.stableWindow };
  return appendPoint(before, observation.point, spans);
}

function nextFailure(
  metric: Metric,
  observation: Observation,
  situation: Situation,
): Measurement["failure"] {
  if (!observation.failed) return null;
  const { policy, state, now } = situation;
  const before = state.failures[metricKey(metric)];
  if (before === undefined) return { count: 1, at: now };
  if (now - before.at < metricInterval(metric, policy)) return before;
  return { count: before.count + 1, at: now };
}

function failedNeed(
  { fallback: policy }: ScalingPolicy,
  current: number,
  fallback: boolean,
): number {
  if (!fallback) return current;
  const count = policy.processes ?? current;
  switch (policy.mode) {
    case "hold":
      return current;
    case "static":
      return count;
    case "ifHigher":
      return Math.max(current, count);
    case "ifLower":
      return Math.min(current, count);
    default:
      return policy.mode satisfies never;
  }
}
