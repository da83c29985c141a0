/** The keeping of a seasonal history with a virtual clock: averages over one slot, written down when it ends. */
import type { L1Trace, ScalingPolicy } from "../autoscale/l1/model.ts";
import {
  recordSeasonal,
  SEASONAL_SLOT_MS,
  type SeasonalHistory,
  seasonalLoads,
  seasonalSlot,
} from "../autoscale/l1/seasonal.ts";

export type Season = {
  readonly slot: number;
  readonly history: SeasonalHistory;
  /** Of this slot so far, by metric. */
  readonly loads: Map<string, { total: number; count: number }>;
};

export function beginSeason(): Season {
  return { slot: -1, history: {}, loads: new Map() };
}

/** The season with the last slot written down, if a new one has begun; otherwise the same object. */
export function turnSeason(season: Season, policy: ScalingPolicy, now: number): Season {
  const slot = seasonalSlot(now);
  if (slot === season.slot || policy.seasonal.mode === "off") return season;
  const loads = [...season.loads].map(([metric, { total, count }]) => ({
    metric,
    load: total / count,
  }));
  const history = recordSeasonal(season.history, loads, {
    now: season.slot * SEASONAL_SLOT_MS,
    lookbackMs: policy.seasonal.lookback,
  });
  return { slot, history, loads: new Map() };
}

/** Seasonal loads, and the slot that they are of. */
export type Usual = { readonly slot: number; readonly loads: Readonly<Record<string, number>> };

export const NOTHING_USUAL: Usual = { slot: -1, loads: {} };

/** The seasonal loads at that time: looked up once for each slot. */
export function lookUp(
  before: Usual,
  {
    history,
    seasonal,
    at,
  }: {
    readonly history: SeasonalHistory;
    readonly seasonal: ScalingPolicy["seasonal"];
    readonly at: number;
  },
): Usual {
  const slot = seasonalSlot(at);
  return slot === before.slot ? before : { slot, loads: seasonalLoads(history, seasonal, at) };
}

/** Adds what a decision saw. */
export function observeSeason({ loads }: Season, { metrics }: L1Trace): void {
  for (const { metric, load } of metrics) {
    if (load === null) continue;
    const sum = loads.get(metric);
    if (sum === undefined) loads.set(metric, { total: load, count: 1 });
    else {
      sum.total += load;
      sum.count += 1;
    }
  }
}
