/** From chunks to the points of an answer. Pure. */
import { cellAt, type Chunk, coarse, fine, slotsOf, type Tier } from "./chunk.ts";
import {
  countColumn,
  isCountMetric,
  type MetricName,
  processMetrics,
  type SeriesKind,
  type Share,
  shareColumn,
} from "./series.ts";

export const aggregations = ["avg", "sum", "max", "min", "p95", "last"] as const;
export type Aggregation = (typeof aggregations)[number];

/** Unix seconds and the value. */
export type Point = readonly [number, number];

/** What one slot says: of a coarse one the average and the extremes of its 5 min. */
export type Slot = {
  readonly atMs: number;
  readonly value: number;
  readonly min: number;
  readonly max: number;
};

export type Wanted = {
  readonly kind: SeriesKind;
  readonly metric: MetricName;
  readonly agg: Aggregation;
};

/** The known slots of a chunk between two times, in order. Of a group: `sum` is that of its processes, `max` and `min`
 * are the highest and lowest process, the others are about the average process. */
export function slotsIn(
  chunk: Chunk,
  { tier, start, wanted }: { readonly tier: Tier; readonly start: number; readonly wanted: Wanted },
): readonly Slot[] {
  const column = columnOf(wanted);
  const perProcess = isPerProcess(wanted) ? countColumn("processes") : undefined;
  const slots: Slot[] = [];
  for (let slot = 0; slot < slotsOf(tier); slot += 1) {
    const divisor = perProcess === undefined ? 1 : read(chunk, { tier, column: perProcess, slot });
    const value = read(chunk, { tier, column, slot }) / divisor;
    if (!Number.isFinite(value)) continue;
    const extreme = (part: 1 | 2): number =>
      tier.parts === 1 || perProcess !== undefined
        ? value
        : read(chunk, { tier, column, slot, part });
    const atMs = start + slot * tier.stepMs;
    slots.push({ atMs, value, min: extreme(1), max: extreme(2) });
  }
  return slots;
}

type Cell = {
  readonly tier: Tier;
  readonly column: number;
  readonly slot: number;
  readonly part?: number;
};

function read(chunk: Chunk, { tier, column, slot, part = 0 }: Cell): number {
  return chunk[cellAt(tier, { column, slot }) + part] ?? NaN;
}

function columnOf({ kind, metric, agg }: Wanted): number {
  if (isCountMetric(metric)) return countColumn(metric);
  return kind === "process" ? processMetrics.indexOf(metric) : shareColumn(metric, shareOf(agg));
}

function shareOf(agg: Aggregation): Share {
  return agg === "max" || agg === "min" ? agg : "sum";
}

/** What is kept is the sum; the average process is that over their number. */
function isPerProcess({ kind, metric, agg }: Wanted): boolean {
  return kind !== "process" && !isCountMetric(metric) && agg !== "sum" && shareOf(agg) === "sum";
}

/** One point for each step that something is known of, at its begin. */
export function toPoints(
  slots: Iterable<Slot>,
  { stepMs, agg }: { readonly stepMs: number; readonly agg: Aggregation },
): Point[] {
  const points: Point[] = [];
  let inStep: Slot[] = [];
  let stepAt = -Infinity;
  const close = (): void => {
    if (inStep.length > 0) points.push([stepAt / 1000, round(aggregate(inStep, agg))]);
  };
  for (const slot of slots) {
    const at = Math.floor(slot.atMs / stepMs) * stepMs;
    if (at !== stepAt) {
      close();
      inStep = [];
      stepAt = at;
    }
    inStep.push(slot);
  }
  close();
  return points;
}

function aggregate(slots: readonly Slot[], agg: Aggregation): number {
  switch (agg) {
    // Over time a sum would say how often was looked: it is that of the processes, on average over the step.
    case "avg":
    case "sum":
      return slots.reduce((sum, { value }) => sum + value, 0) / slots.length;
    case "max":
      return slots.reduce((most, { max }) => Math.max(most, max), -Infinity);
    case "min":
      return slots.reduce((least, { min }) => Math.min(least, min), Infinity);
    case "last":
      return slots.at(-1)?.value ?? NaN;
    case "p95":
      return percentile(slots.map(({ value }) => value));
    default:
      return agg satisfies never;
  }
}

/** The nearest rank. */
function percentile(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.ceil(0.95 * sorted.length) - 1] ?? NaN;
}

/** Floats of four bytes have seven digits. */
function round(value: number): number {
  return Number(value.toPrecision(7));
}

/** Which windows a time range takes from which tier: the fine one where it is kept, the coarse one before that. */
export function windowsIn(range: {
  readonly sinceMs: number;
  readonly untilMs: number;
  /** From here on the fine tier is used. */
  readonly fineFromMs: number;
}): readonly { readonly tier: Tier; readonly start: number }[] {
  const { sinceMs, untilMs, fineFromMs } = range;
  return [
    ...windowsOf(coarse, sinceMs, Math.min(untilMs, fineFromMs)),
    ...windowsOf(fine, Math.max(sinceMs, fineFromMs), untilMs),
  ];
}

function windowsOf(
  tier: Tier,
  from: number,
  to: number,
): readonly { readonly tier: Tier; readonly start: number }[] {
  const first = Math.floor(from / tier.windowMs) * tier.windowMs;
  const count = Math.max(0, Math.ceil((to - first) / tier.windowMs));
  return from >= to
    ? []
    : Array.from({ length: count }, (_, index) => ({ tier, start: first + index * tier.windowMs }));
}
