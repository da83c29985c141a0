/** Keeps the history small: coarser points of what gets old, and nothing of what is too old or too much. Each call does
 * one short piece. */
import { coarse, encodeChunk, fine, rollUp, windowOf } from "./chunk.ts";
import type { HistoryFile, Series } from "./file.ts";
import { readChunk } from "./read-chunk.ts";
import { columnCount } from "./series.ts";

export type Upkeep = {
  readonly tend: (
    file: HistoryFile,
    now: { readonly nowMs: number; readonly bytesMax: number },
  ) => void;
  readonly rolledUntil: (file: HistoryFile) => number;
};

/** After the end of a window, until the last of it is in the file. */
const SETTLED_MS = 15 * 60_000;
/** Series rolled up in one call: some 10 ms. */
const ROLLED_MAX = 20;
const FORGOTTEN_MAX = 20;
const CLEAN_EVERY_MS = 60_000;
const DROPPED_MAX = 4;

export function createUpkeep(): Upkeep {
  /** The last series of the window that was rolled up. */
  let cursor = 0;
  let cleanedAt = -Infinity;
  return {
    rolledUntil: (file) => file.getNote("rolledUntil") ?? 0,
    tend: (file, { nowMs, bytesMax }) => {
      cursor = rollSome(file, { nowMs, cursor });
      if (Math.abs(nowMs - cleanedAt) < CLEAN_EVERY_MS) return;
      cleanedAt = nowMs;
      file.transaction(() => clean(file, { nowMs, bytesMax }));
      file.shrink();
    },
  };
}

/** Rolls up some series of the oldest window that is complete, and returns the last of them; 0 when it is done. */
function rollSome(
  file: HistoryFile,
  { nowMs, cursor }: { readonly nowMs: number; readonly cursor: number },
): number {
  const oldest = windowOf(coarse, nowMs - fine.keptMs);
  const start = Math.max(oldest, file.getNote("rolledUntil") ?? windowOf(coarse, nowMs));
  const end = start + coarse.windowMs;
  if (file.getNote("rolledUntil") === undefined) file.setNote("rolledUntil", start);
  if (nowMs < end + SETTLED_MS) return 0;
  const some = file.listAfter(cursor, start, ROLLED_MAX);
  file.transaction(() => {
    for (const series of some) if (isKept(series, end)) rollOne(file, series, start);
    if (some.length === 0) file.setNote("rolledUntil", end);
  });
  return some.at(-1)?.id ?? 0;
}

/** Of a process that has ended, only what its subscription has of it is kept for long. */
function isKept({ kind, lastAt }: Series, end: number): boolean {
  return kind !== "process" || lastAt >= end;
}

function rollOne(file: HistoryFile, { id: series, kind }: Series, start: number): void {
  const rolled = rollUp(columnCount(kind), start, (at) =>
    readChunk(file, fine, { start: at, series, kind }),
  );
  if (rolled === undefined) return;
  file.write([{ tier: coarse.id, start, series, data: encodeChunk(rolled) }]);
}

function clean(
  file: HistoryFile,
  { nowMs, bytesMax }: { readonly nowMs: number; readonly bytesMax: number },
): void {
  for (const tier of [fine, coarse])
    for (let dropped = 0; dropped < DROPPED_MAX; dropped += 1)
      if (!file.dropWindow(tier.id, nowMs - tier.keptMs - tier.windowMs)) break;
  for (const series of file.listEnded(nowMs - fine.keptMs, FORGOTTEN_MAX))
    file.forget(series, coarseWindows(series));
  for (let dropped = 0; dropped < DROPPED_MAX && file.sizeBytes() > bytesMax; dropped += 1)
    if (!file.dropOldest()) break;
}

function coarseWindows({ firstAt, lastAt }: Series): readonly number[] {
  const from = windowOf(coarse, Math.max(firstAt, lastAt - coarse.keptMs));
  const count = Math.floor((lastAt - from) / coarse.windowMs) + 1;
  return Array.from({ length: count }, (_, index) => from + index * coarse.windowMs);
}
