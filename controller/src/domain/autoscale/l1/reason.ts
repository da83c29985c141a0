/** Rule 12: why the count is what it is, in one sentence. */
import type { L1Trace, Limiter, MetricTrace, ScalingPolicy } from "./model.ts";

export function reasonOf(trace: L1Trace, desired: number, policy: ScalingPolicy): string {
  const change = changeOf(trace.current, desired);
  const last = trace.limits.at(-1);
  const because = last === undefined ? "" : `; ${limitText(last.limiter, { trace, policy })}`;
  return `${change}: ${sourceText(trace)}${because}`;
}

function changeOf(current: number, desired: number): string {
  if (desired === current) return `keep ${current}`;
  return `${desired > current ? "grow" : "shrink"} from ${current} to ${desired}`;
}

function sourceText({ source, metrics, raw, horizonMs }: L1Trace): string {
  const metric =
    "metric" in source ? metrics.find(({ metric: key }) => key === source.metric) : undefined;
  const asks = `${raw} needed`;
  switch (source.kind) {
    case "metric":
      return metric === undefined ? asks : `${metricText(metric)}, ${asks}`;
    case "panic":
      return `${source.metric} jumped to ${round(metric?.panicLoad ?? 0)} of ${metric?.target ?? 0} each, ${asks}`;
    case "forecast":
      return `${source.metric} is forecast to be ${round(metric?.forecastLoad ?? 0)} in ${horizonMs / 1000} s, ${asks}`;
    case "seasonal":
      return `${source.metric} is usually ${round(metric?.seasonalLoad ?? 0)} at this time, ${asks}`;
    case "hand":
      return "the policy has no metrics";
    case "schedule":
      return `a schedule begins with at least ${raw}`;
    case "wake":
      return "there is work for a sleeping subscription";
    default:
      return source satisfies never;
  }
}

function metricText({ metric, stableLoad, target, failures, fallback }: MetricTrace): string {
  if (failures > 0) {
    const since = `no value of ${metric}, ${failures} times in a row`;
    return fallback ? `${since}, so the fallback holds` : since;
  }
  return `${metric} is ${round(stableLoad)} in all with ${target} wanted each`;
}

type Context = { readonly trace: L1Trace; readonly policy: ScalingPolicy };

function limitText(limiter: Limiter, { trace, policy }: Context): string {
  const { rates, stabilisation, idleAfter } = policy;
  switch (limiter) {
    case "metric-failed":
      return "nothing shrinks while a metric fails";
    case "stabilisation":
      return `the recommendations of the last ${stabilisation.shrink / 1000} s differ`;
    case "panic":
      return "nothing shrinks during a panic";
    case "rollout":
      return "nothing shrinks during a roll-out";
    case "activation":
      return `the last process stays until all has been idle for ${idleAfter / 1000} s`;
    case "pending-grow":
      return "an earlier grow is not done";
    case "pending-shrink":
      return "an earlier shrink is not done";
    case "grow-rate":
      return `at most ${rates.grow.processes} or ${rates.grow.percent} % more in ${rates.grow.period / 1000} s`;
    case "shrink-rate":
      return `at most ${rates.shrink.processes} or ${rates.shrink.percent} % less in ${rates.shrink.period / 1000} s`;
    case "min":
      return `the minimum is ${trace.bounds.min}`;
    case "max":
      return `the maximum is ${trace.bounds.max}`;
    case "paused":
      return "the count was set by hand and the policy is paused";
    default:
      return limiter satisfies never;
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
