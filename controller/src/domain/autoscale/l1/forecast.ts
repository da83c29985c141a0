/** Rule 5: where the load will be when a process that is decided on now is ready. For growth only. */
import { robustSlope } from "../statistics.ts";
import type { Point } from "./model.ts";

const POINTS_MIN = 5;
/** More points make the quadratic slope slow and no better. */
const POINTS_MAX = 16;

export type Forecast = { readonly slope: number; readonly load: number };

/** The load at the horizon, or undefined with fewer than five points. */
export function forecastLoad(series: readonly Point[], horizonMs: number): Forecast | undefined {
  if (series.length < POINTS_MIN) return undefined;
  const values = thin(series).map(({ at, sum }) => ({ at, value: sum }));
  const slope = robustSlope(values);
  let total = 0;
  let highest = 0;
  for (const { sum } of series) {
    total += sum;
    highest = Math.max(highest, sum);
  }
  const average = total / series.length;
  return { slope, load: extrapolate({ average, slope, highest }, horizonMs) };
}

/** `average + slope * horizon`, but never below 0 or above twice the highest load seen. */
export function extrapolate(
  {
    average,
    slope,
    highest,
  }: { readonly average: number; readonly slope: number; readonly highest: number },
  horizonMs: number,
): number {
  return Math.min(2 * highest, Math.max(0, average + (slope * horizonMs) / 1000));
}

/** Evenly chosen points, the first and the last among them. */
function thin(series: readonly Point[]): readonly Point[] {
  if (series.length <= POINTS_MAX) return series;
  const step = (series.length - 1) / (POINTS_MAX - 1);
  return Array.from({ length: POINTS_MAX }, (_, index) => series[Math.round(index * step)]).filter(
    (point) => point !== undefined,
  );
}
