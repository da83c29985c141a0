/** Rule 4, first half: series of points and their averages over a window. */
import type { Point } from "./model.ts";

export type WindowLoad = {
  /** Missing processes counted as 0: the measure for growing. */
  readonly grow: number;
  /** Missing processes counted as at their target: the measure for shrinking. */
  readonly shrink: number;
};

/** Adds a point and drops what is older than the window. A second point in the same sampling interval replaces the
 * first, so that decisions out of turn do not give one moment more weight. */
export function appendPoint(
  series: readonly Point[],
  point: Point,
  { intervalMs, windowMs }: { readonly intervalMs: number; readonly windowMs: number },
): readonly Point[] {
  const slot = Math.floor(point.at / intervalMs);
  const kept = series.filter(
    ({ at }) => at > point.at - windowMs && at <= point.at && Math.floor(at / intervalMs) !== slot,
  );
  kept.push(point);
  return kept;
}

/** The average load of the points of the last `windowMs`; 0 for none. */
export function windowLoad(
  series: readonly Point[],
  { since, target }: { readonly since: number; readonly target: number },
): WindowLoad {
  let sum = 0;
  let missing = 0;
  let count = 0;
  for (const point of series) {
    if (point.at <= since) continue;
    sum += point.sum;
    missing += point.missing;
    count += 1;
  }
  if (count === 0) return { grow: 0, shrink: 0 };
  return { grow: sum / count, shrink: (sum + missing * target) / count };
}
