/** What level 1 tells level 2: its own forecast, taken at level 2's lead time. */
import { metricKey } from "@strata/protocol/api/autoscale";

import { ceilCount } from "../statistics.ts";
import { boundsAt } from "./bounds.ts";
import { extrapolate, risesForSure } from "./forecast.ts";
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
    const trend = state.trends[key];
    const season = policy.seasonal.mode === "scale" ? (seasonal[key] ?? 0) : 0;
    // The average is as old as the middle of its window, which at this range must not be forgotten.
    const rising =
      trend !== undefined && risesForSure(trend)
        ? extrapolate(trend, horizonMs + now - trend.at)
        : 0;
    // What stays within the tolerance would move nothing when it came.
    const believed = rising > current * metric.target * (1 + policy.tolerance.up) ? rising : 0;
    return ceilCount(Math.max(believed, season) / metric.target);
  });
  return Math.max(current, Math.min(max, Math.max(min, ...needs)));
}
