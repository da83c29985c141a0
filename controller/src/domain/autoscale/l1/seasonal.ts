/** Rule 6: what the load was at this time of day and week. The shell keeps one `SeasonalHistory` for each
 * subscription, and asks for `seasonalLoads` once a slot; decisions only see the result. */
import { percentile } from "../statistics.ts";
import type { ForecastError, Point, ScalingPolicy } from "./model.ts";

/** Length of the slots that days are cut into. */
export const SEASONAL_SLOT_MS = 300_000;
const DAY_MS = 86_400_000;
const WEEK_DAYS = 7;
/** Hours for which the forecast's error is kept, for each metric. */
const ERROR_HOURS_MAX = 48;

/** By metric key and slot (milliseconds since 1970 / slot length): the average load of the slot. */
export type SeasonalHistory = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** Writes down the slot of `now`, and forgets what is older than the lookback. Call it when the slot ends; of a slot
 * that is written twice, as over a restart, the higher load stays. */
export function recordSeasonal(
  history: SeasonalHistory,
  loads: readonly { readonly metric: string; readonly load: number }[],
  { now, lookbackMs }: { readonly now: number; readonly lookbackMs: number },
): SeasonalHistory {
  const slot = seasonalSlot(now);
  const oldest = seasonalSlot(now - lookbackMs);
  const next: Record<string, Readonly<Record<string, number>>> = { ...history };
  for (const { metric, load } of loads) {
    const known = next[metric] ?? {};
    const before = known[slot];
    if (before !== undefined && before >= load) continue;
    next[metric] = { ...dropBefore(known, oldest), [slot]: load };
  }
  return next;
}

/** The percentile over the same time of the same weekday. While there is no such week yet, over days of the same kind:
 * a Saturday says nothing of a Monday.
 * Nothing for a metric with less than `minHistory` of data. */
export function seasonalLoads(
  history: SeasonalHistory,
  policy: ScalingPolicy["seasonal"],
  at: number,
): Readonly<Record<string, number>> {
  if (policy.mode === "off") return {};
  const loads: Record<string, number> = {};
  for (const [metric, slots] of Object.entries(history)) {
    const first = Math.min(...Object.keys(slots).map(Number)) * SEASONAL_SLOT_MS;
    if (at - first < policy.minHistory) continue;
    const load = sameTimeLoad(slots, policy, at);
    if (load === undefined) continue;
    const next = sameTimeLoad(slots, policy, at + SEASONAL_SLOT_MS) ?? load;
    // Slots are averages: a load that rises is half way to the next one when its slot ends.
    loads[metric] = Math.max(load, (load + next) / 2);
  }
  return loads;
}

export function seasonalSlot(at: number): number {
  return Math.floor(at / SEASONAL_SLOT_MS);
}

function dropBefore(
  slots: Readonly<Record<string, number>>,
  oldest: number,
): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(slots).filter(([slot]) => Number(slot) >= oldest));
}

function sameTimeLoad(
  slots: Readonly<Record<string, number>>,
  { lookback, percentile: share, timeZone }: ScalingPolicy["seasonal"],
  at: number,
): number | undefined {
  // Days are taken from the local clock: the morning peak stays at its hour when summer time begins.
  const local = Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(timeZone);
  const sameKind: number[] = [];
  const sameWeekday: number[] = [];
  for (let days = 1; days <= lookback / DAY_MS; days += 1) {
    const then = local.subtract({ days });
    const load = slots[seasonalSlot(then.epochMilliseconds)];
    if (load === undefined) continue;
    if (isWeekend(then) === isWeekend(local)) sameKind.push(load);
    if (days % WEEK_DAYS === 0) sameWeekday.push(load);
  }
  return percentile(sameWeekday.length > 0 ? sameWeekday : sameKind, share);
}

function isWeekend({ dayOfWeek }: Temporal.ZonedDateTime): boolean {
  return dayOfWeek >= 6;
}

/** Adds one comparison of the forecast with what came, kept by the hour. */
export function recordForecastError(
  errors: readonly ForecastError[],
  {
    metric,
    point,
    forecast,
  }: { readonly metric: string; readonly point: Point; readonly forecast: number },
): readonly ForecastError[] {
  const hour = Math.floor(point.at / 3_600_000);
  const recent = errors.filter((error) => error.hour > hour - ERROR_HOURS_MAX);
  const index = recent.findIndex((error) => error.hour === hour && error.metric === metric);
  const before = recent[index] ?? { metric, hour, samples: 0, actual: 0, absoluteError: 0 };
  const samples = before.samples + 1;
  const mean = (old: number, value: number): number => old + (value - old) / samples;
  const next = {
    metric,
    hour,
    samples,
    actual: mean(before.actual, point.sum),
    absoluteError: mean(before.absoluteError, Math.abs(point.sum - forecast)),
  };
  return index === -1 ? [...recent, next] : recent.with(index, next);
}
