/** Rule 9, first half: one low or high moment decides nothing. */
import type { Recommendation, ScalingPolicy } from "./model.ts";

/** Adds a recommendation, and drops what no window reaches any more. Equal ones in a row are one run. */
export function recommend(
  runs: readonly Recommendation[],
  count: number,
  { now, policy }: { readonly now: number; readonly policy: ScalingPolicy },
): readonly Recommendation[] {
  const { grow, shrink } = policy.stabilisation;
  const since = now - Math.max(grow, shrink);
  const kept = runs.filter(({ until }) => until >= since);
  const last = kept.at(-1);
  return last?.count === count
    ? [...kept.slice(0, -1), { ...last, until: now }]
    : [...kept, { count, from: now, until: now }];
}

/** Shrinks to the highest recommendation of its window and grows to the lowest of its own. */
export function stabilise(
  runs: readonly Recommendation[],
  current: number,
  { now, policy }: { readonly now: number; readonly policy: ScalingPolicy },
): number {
  const { grow, shrink } = policy.stabilisation;
  const within = (windowMs: number): readonly number[] =>
    runs.filter(({ until }) => until > now - windowMs || until === now).map(({ count }) => count);
  const lowest = Math.min(...within(grow));
  const highest = Math.max(...within(shrink));
  if (lowest > current) return lowest;
  return Math.min(highest, current);
}
