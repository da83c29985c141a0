/** Rule 5: where the load will be when a process that is decided on now is ready. For growth only. */
import { robustSlope } from "../statistics.ts";
import type { Point, Trend } from "./model.ts";
import { appendPoint } from "./windows.ts";

const POINTS_MIN = 5;
/** More points make the quadratic slope slow and no better. */
const POINTS_MAX = 12;

/** The trend of the window, or null with fewer than five points. */
export function trendOf(series: readonly Point[]): Trend | null {
  if (series.length < POINTS_MIN) return null;
  let total = 0;
  let times = 0;
  let highest = 0;
  for (const { at, sum } of series) {
    total += sum;
    times += at;
    highest = Math.max(highest, sum);
  }
  const slope = robustSlope(thin(series).map(({ at, sum }) => ({ at, value: sum })));
  return { ...slope, at: times / series.length, average: total / series.length, highest };
}

/** `average + slope * horizon`, but never below 0 or above twice the highest load seen. */
export function extrapolate(
  { average, slope, highest }: Pick<Trend, "average" | "slope" | "highest">,
  horizonMs: number,
): number {
  return Math.min(2 * highest, Math.max(0, average + (slope * horizonMs) / 1000));
}

/** A trend of pure noise rises in about half of its pairs of points, and seldom in so many. */
const RISING_SHARE_MIN = 0.85;

/** Does the load rise for sure? To look minutes ahead along a slope that is only noise rents nodes for nothing. */
export function risesForSure({ slope, rising }: Trend): boolean {
  return slope > 0 && rising >= RISING_SHARE_MIN;
}

/** The longer past: what will be in minutes cannot be foreseen out of seconds. */
const PAST_STEP_MS = 7500;
const PAST_SPAN_MS = 120_000;

/** The longer past with one more moment: its load, smoothed over the panic window. */
export function appendPast(past: readonly Point[], point: Point): readonly Point[] {
  return appendPoint(past, point, { intervalMs: PAST_STEP_MS, windowMs: PAST_SPAN_MS });
}

/** Evenly chosen points, the first and the last among them. */
function thin(series: readonly Point[]): readonly Point[] {
  if (series.length <= POINTS_MAX) return series;
  const step = (series.length - 1) / (POINTS_MAX - 1);
  return Array.from({ length: POINTS_MAX }, (_, index) => series[Math.round(index * step)]).filter(
    (point) => point !== undefined,
  );
}
