/** Keeps the season of each subscription: averages of the slot that runs, in memory; whole slots in the store. What is
 * usual is looked up once in every slot. A slot over which the controller restarts is an average of its rest. */
import type { L1Trace, ScalingPolicy } from "../domain/autoscale/l1/model.ts";
import { type SeasonalHistory, seasonalSlot } from "../domain/autoscale/l1/seasonal.ts";
import {
  beginSeason,
  lookUp,
  NOTHING_USUAL,
  observeSeason,
  type Season,
  turnSeason,
  type Usual,
} from "../domain/simulate/season.ts";

export type SeasonKeeper = {
  /** What is usual at `at`, and the season to be written down when a slot has just ended. */
  readonly turn: (
    subscriptionId: string,
    turn: {
      readonly policy: ScalingPolicy;
      readonly now: number;
      readonly at: number;
      /** Of the store. Long; asked for only when it is needed. */
      readonly read: () => SeasonalHistory;
    },
  ) => {
    readonly usual: Readonly<Record<string, number>>;
    readonly ended: SeasonalHistory | undefined;
  };
  /** Adds what a decision saw. */
  readonly observe: (subscriptionId: string, trace: L1Trace) => void;
  readonly keepOnly: (subscriptionIds: ReadonlySet<string>) => void;
};

type Entry = { season: Season; usual: Usual };

export function createSeasonKeeper(): SeasonKeeper {
  const entries = new Map<string, Entry>();
  return {
    turn: (subscriptionId, { policy, now, at, read }) => {
      if (policy.seasonal.mode === "off") return { usual: {}, ended: undefined };
      const entry = entries.get(subscriptionId) ?? { season: beginSeason(), usual: NOTHING_USUAL };
      entries.set(subscriptionId, entry);
      const { season } = entry;
      let ended: SeasonalHistory | undefined;
      if (season.slot !== seasonalSlot(now)) {
        const seen = season.loads.size > 0;
        const next = turnSeason(seen ? { ...season, history: read() } : season, policy, now);
        if (seen) ended = next.history;
        // The history stays in the store: it is long, and needed twice in a slot.
        entry.season = { ...next, history: {} };
      }
      if (entry.usual.slot !== seasonalSlot(at)) {
        const { seasonal } = policy;
        entry.usual = lookUp(entry.usual, { history: ended ?? read(), seasonal, at });
      }
      return { usual: entry.usual.loads, ended };
    },
    observe: (subscriptionId, trace) => {
      const entry = entries.get(subscriptionId);
      if (entry !== undefined) observeSeason(entry.season, trace);
    },
    keepOnly: (subscriptionIds) => {
      for (const id of entries.keys()) if (!subscriptionIds.has(id)) entries.delete(id);
    },
  };
}
