/** Subscriptions whose count follows that of another one of their tenant. Pure. */
import type { Ratio } from "@strata/protocol/api/rollouts";

/** As many as a PUT may wish for. */
const PROCESSES_MAX = 100_000;

export function countByRatio({ processes, per }: Ratio, of: number): number {
  return Math.min(PROCESSES_MAX, Math.ceil((of * processes) / per));
}

/** One of the subscriptions of a tenant. */
export type Counted = {
  readonly alias: string;
  /** As written down. */
  readonly processes: number;
  readonly ratio: Ratio | null;
  /** Brings a count within its scaling policy, if it has one. */
  readonly bound: (count: number) => number;
};

export type NewCount = { readonly alias: string; readonly from: number; readonly to: number };

/** The counts that are not as their ratios have them, through any number of steps. Where the other subscription is gone,
 * and where ratios go in a circle, the count stays. */
export function planRatios(subscriptions: readonly Counted[]): readonly NewCount[] {
  const byAlias = new Map(subscriptions.map((one) => [one.alias, one]));
  const known = new Map<string, number>();
  const underWay = new Set<string>();
  const countOf = (one: Counted): number => {
    const found = known.get(one.alias);
    if (found !== undefined) return found;
    const other = one.ratio === null ? undefined : byAlias.get(one.ratio.of);
    if (one.ratio === null || other === undefined || underWay.has(one.alias))
      return one.bound(one.processes);
    underWay.add(one.alias);
    const count = one.bound(countByRatio(one.ratio, countOf(other)));
    underWay.delete(one.alias);
    known.set(one.alias, count);
    return count;
  };
  return subscriptions.flatMap((one) => {
    if (one.ratio === null || !byAlias.has(one.ratio.of)) return [];
    const to = countOf(one);
    return to === one.processes ? [] : [{ alias: one.alias, from: one.processes, to }];
  });
}
