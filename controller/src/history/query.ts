/** Reads series of the history as points, a piece at a time: requests of others get their turn in between. */
import { setImmediate as turn } from "node:timers/promises";

import { coarse, fine } from "./chunk.ts";
import type { Series } from "./file.ts";
import type { History } from "./history.ts";
import { type Aggregation, type Point, type Slot, slotsIn, toPoints, windowsIn } from "./points.ts";
import type { MetricName } from "./series.ts";

export type HistoryQuery = {
  readonly metric: MetricName;
  readonly agg: Aggregation;
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly stepMs: number;
};

/** Windows that one answer may read; each takes some 20 µs. */
export const WINDOWS_MAX = 20_000;
const WINDOWS_AT_ONCE = 100;

type Window = ReturnType<typeof windowsIn>[number];

/** The windows of one series that the query reads. The finest tier that is kept is read, also for long steps: only it
 * knows the extremes of an average. */
export function planWindows(
  history: Pick<History, "rolledUntil">,
  { sinceMs, untilMs }: Pick<HistoryQuery, "sinceMs" | "untilMs">,
  nowMs: number,
): readonly Window[] {
  // What is not rolled up yet is in the fine tier, and all of a window of the coarse one is.
  const kept = Math.ceil((nowMs - fine.keptMs) / coarse.windowMs) * coarse.windowMs;
  return windowsIn({ sinceMs, untilMs, fineFromMs: Math.min(kept, history.rolledUntil()) });
}

export async function readPoints(
  history: Pick<History, "read">,
  { series, windows }: { readonly series: Series; readonly windows: readonly Window[] },
  query: HistoryQuery,
): Promise<Point[]> {
  const { metric, agg, sinceMs, untilMs, stepMs } = query;
  const wanted = { kind: series.kind, metric, agg };
  const slots: Slot[] = [];
  for (const [index, { tier, start }] of windows.entries()) {
    if (index % WINDOWS_AT_ONCE === WINDOWS_AT_ONCE - 1) await turn();
    const chunk = history.read(tier, start, series);
    if (chunk === undefined) continue;
    for (const slot of slotsIn(chunk, { tier, start, wanted }))
      if (slot.atMs >= sinceMs && slot.atMs < untilMs) slots.push(slot);
  }
  return toPoints(slots, { stepMs, agg });
}
