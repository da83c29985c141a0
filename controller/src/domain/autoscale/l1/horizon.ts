/** What level 1 tells level 2: its own forecast, taken at level 2's lead time. */
import { metricKey } from "@strata/protocol/api/autoscale";

import { ceilCount } from "../statistics.ts";
import { boundsAt } from "./bounds.ts";
import { forecastLoad } from "./forecast.ts";
import type { L1State, ScalingPolicy } from "./model.ts";

/** Processes that the subscription will want at the horizon: never less than it wishes for now. `seasonal` holds the
 * seasonal loads of that later time. */
export function processesAtHorizon({
  policy,
  state,
  current,
  seasonal,
  horizonMs,
  now,
}: {
  readonly policy: ScalingPolicy;
  readonly state: L1State;
  readonly current: number;
  readonly seasonal: Readonly<Record<string, number>>;
  readonly horizonMs: number;
  readonly now: number;
}): number {
  const { min, max } = boundsAt(policy, state.activeSchedules, now + horizonMs);
  const needs = policy.metrics.map((metric) => {
    const key = metricKey(metric);
    const trend = policy.forecast.enabled
      ? forecastLoad(state.series[key] ?? [], horizonMs)
      : undefined;
    const season = policy.seasonal.mode === "scale" ? (seasonal[key] ?? 0) : 0;
    const rising = trend !== undefined && trend.slope > 0 ? trend.load : 0;
    return ceilCount(Math.max(rising, season) / metric.target);
  });
  return Math.max(current, Math.min(max, Math.max(min, ...needs)));
}
