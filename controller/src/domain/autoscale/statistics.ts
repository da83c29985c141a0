/** Small robust statistics that both scalers use. */

/** Quotients such as 0.30000000000000004 must not need one process more. */
const ROUNDING = 1e-9;

/** Rounds up, but forgives what only floating point has added. */
export function ceilCount(value: number): number {
  return Math.max(0, Math.ceil(value - ROUNDING));
}

/** The nearest-rank percentile (0 to 1), or undefined for no values. */
export function percentile(values: readonly number[], share: number): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

export type TimedValue = { readonly at: number; readonly value: number };

/** How values run over time. */
export type Slope = {
  /** Per second: the median over all pairs of points (Theil–Sen), so that single outliers do not turn it. */
  readonly slope: number;
  /** Share of the pairs whose later value is the higher one: 1 for a steady rise, about one half for noise. */
  readonly rising: number;
};

/** Quadratic; callers pass at most a few dozen points. */
export function robustSlope(points: readonly TimedValue[]): Slope {
  const slopes = new Float64Array((points.length * (points.length - 1)) / 2);
  let count = 0;
  let rising = 0;
  for (let index = 1; index < points.length; index += 1) {
    const later = points[index];
    for (let before = 0; before < index; before += 1) {
      const earlier = points[before];
      if (earlier === undefined || later === undefined || later.at === earlier.at) continue;
      slopes[count] = (1000 * (later.value - earlier.value)) / (later.at - earlier.at);
      count += 1;
      if (later.value > earlier.value) rising += 1;
    }
  }
  return { slope: median(slopes.subarray(0, count).sort()), rising: rising / Math.max(1, count) };
}

function median(sorted: Float64Array): number {
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}
