/** Rule 8, first half: one raw count out of the needs of all metrics, the panic window, forecast and season. */
import { ceilCount } from "../statistics.ts";
import type { MetricTrace, ScalingPolicy, Source } from "./model.ts";

export type Raw = { readonly count: number; readonly source: Source };

/** The highest of the stable needs, their forecasts and, in mode `scale`, the season's floor. */
export function combine(
  metrics: readonly MetricTrace[],
  { policy, current }: { readonly policy: ScalingPolicy; readonly current: number },
): Raw {
  let raw: Raw | undefined;
  const offer = (count: number, source: Source): void => {
    if (raw === undefined || count > raw.count) raw = { count, source };
  };
  for (const { metric, need } of metrics) offer(need, { kind: "metric", metric });
  for (const { metric, forecastNeed } of metrics)
    offer(forecastNeed ?? 0, { kind: "forecast", metric });
  if (policy.seasonal.mode === "scale") {
    for (const trace of metrics) {
      offer(seasonalNeed(trace) ?? 0, { kind: "seasonal", metric: trace.metric });
    }
  }
  return raw ?? { count: current, source: { kind: "hand" } };
}

/** The floor that the season alone would set; null while it is unknown. Shown in every mode. */
export function seasonalFloor(metrics: readonly MetricTrace[]): number | null {
  const needs = metrics.flatMap((trace) => seasonalNeed(trace) ?? []);
  return needs.length === 0 ? null : Math.max(...needs);
}

function seasonalNeed({ seasonalLoad, target }: MetricTrace): number | undefined {
  return seasonalLoad === null ? undefined : ceilCount(seasonalLoad / target);
}

/** The highest need of the short window, with its metric. */
export function panicRaw(metrics: readonly MetricTrace[]): Raw | undefined {
  const [first, ...others] = metrics;
  if (first === undefined) return undefined;
  const highest = others.reduce((a, b) => (b.panicNeed > a.panicNeed ? b : a), first);
  return { count: highest.panicNeed, source: { kind: "panic", metric: highest.metric } };
}

/** Rule 4: the short window needs a multiple of what is ready. */
export function panicStarts(
  { count }: Raw,
  { policy, ready }: { readonly policy: ScalingPolicy; readonly ready: number },
): boolean {
  const { threshold } = policy.panic;
  return threshold !== null && count > ready && count >= threshold * ready;
}
