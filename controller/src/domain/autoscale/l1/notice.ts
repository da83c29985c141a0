/** What people should know of a scaling policy at work: that it is paused, or that it works without a metric. */
import { type Metric, metricKey } from "@strata/protocol/api/autoscale";

import type { L1State, ScalingPolicy } from "./model.ts";

/** One sentence, or null when there is nothing to say. */
export function noticeOf(state: L1State, policy: ScalingPolicy, now: number): string | null {
  const { pausedUntil } = state;
  if (pausedUntil !== null && now < pausedUntil) {
    const until = new Date(pausedUntil).toISOString();
    return `the count was set by hand: the scaling policy leaves it alone until ${until}`;
  }
  const failed = policy.metrics.find((metric) => failuresOf(metric, state) > 0);
  if (failed === undefined) return null;
  const times = failuresOf(failed, state);
  const fallback =
    times >= policy.fallback.after
      ? `the fallback ${policy.fallback.mode} is in force`
      : "nothing shrinks";
  return `no value of the metric ${metricKey(failed)} for ${times} intervals, so ${fallback}: ${remedyOf(failed)}`;
}

function failuresOf(metric: Metric, { failures }: L1State): number {
  return failures[metricKey(metric)]?.count ?? 0;
}

function remedyOf(metric: Metric): string {
  switch (metric.kind) {
    case "cpu":
    case "memory":
    case "in-flight":
      return "the agents of its nodes report none";
    case "requests":
      return "no ingress leads requests to it: give a node the role ingress, and see its route";
    case "custom":
      return `post { "metrics": { "${metric.name}": … } } to /metrics of the subscription every ${metric.interval / 1000} s`;
    case "prometheus":
      return `see whether the source ${metric.source} answers its query`;
    default:
      return metric satisfies never;
  }
}
