/** What a run looked like over time, thinned out for plots. */
import type { L1Decision, Limiter } from "../autoscale/l1/model.ts";
import type { SimSubscription, Simulation } from "./world.ts";

/** Moments kept of each run: enough for a plot of any width. */
const POINTS_MAX = 720;

export type SeriesPoint = {
  /** Milliseconds since the start. */
  readonly at: number;
  readonly load: number;
  /** By metric. */
  readonly needs: Readonly<Record<string, number>>;
  /** Highest of the forecasts; null when there is none. */
  readonly forecast: number | null;
  readonly floor: number | null;
  readonly desired: number;
  readonly ready: number;
  readonly limiter: Limiter | null;
  /** Nodes of the subscription's partition; null where there are none to speak of. */
  readonly nodes: number | null;
};

export type RunSeries = { readonly name: string; readonly points: readonly SeriesPoint[] };

export type SeriesRecorder = {
  readonly series: readonly RunSeries[];
  readonly record: (subscription: SimSubscription, decision: L1Decision) => void;
};

export function createSeries(sim: Simulation): SeriesRecorder {
  const step = sim.scenario.duration / POINTS_MAX;
  const points = new Map<string, SeriesPoint[]>(
    sim.subscriptions.map(({ spec }) => [spec.name, []]),
  );
  return {
    series: [...points].map(([name, list]) => ({ name, points: list })),
    record: (subscription, decision) => {
      const list = points.get(subscription.spec.name);
      const at = decision.trace.at - sim.startedAt;
      if (list === undefined || at < list.length * step) return;
      list.push(
        pointOf(decision, {
          at,
          load: subscription.loadAt(at),
          nodes: subscription.partition.nodes.length,
        }),
      );
    },
  };
}

/** One moment of a decision, as a plot shows it. */
export function pointOf(
  { desired, trace, limiter }: L1Decision,
  { at, load, nodes }: Pick<SeriesPoint, "at" | "load" | "nodes">,
): SeriesPoint {
  const forecasts = trace.metrics.flatMap(({ forecastNeed }) => forecastNeed ?? []);
  return {
    at,
    load,
    needs: Object.fromEntries(trace.metrics.map(({ metric, need }) => [metric, need])),
    forecast: forecasts.length === 0 ? null : Math.max(...forecasts),
    floor: trace.floor,
    desired,
    ready: trace.ready,
    limiter,
    nodes,
  };
}
