/** What processes, subscriptions and nodes used, over time: every 10 s for a day, every 5 min for two weeks. The window
 * that is being filled is in memory and written down every two minutes, a few series at a time, so that no request waits
 * for it; a controller that is killed loses those. */
import type { Logger } from "pino";

import {
  type Chunk,
  cellAt,
  emptyChunk,
  encodeChunk,
  fine,
  slotOf,
  type Tier,
  windowOf,
} from "./chunk.ts";
import {
  type HistoryFile,
  isDamaged,
  openHistoryFile,
  type Series,
  type SeriesFilter,
  type SeriesKey,
  setAside,
} from "./file.ts";
import { readChunk } from "./read-chunk.ts";
import type { Values } from "./readings.ts";
import { columnCount } from "./series.ts";
import { createUpkeep } from "./upkeep.ts";

/** Figures of one thing at one time, in the order of its columns. */
export type Reading = { readonly key: SeriesKey; readonly values: Values };

export type History = {
  /** Takes in what is known at a time. Earlier than the last one, it is dropped: the clock went back. */
  readonly record: (atMs: number, readings: readonly Reading[]) => void;
  /** A bounded piece of writing down and cleaning up; due every second or so. */
  readonly tend: (nowMs: number) => void;
  readonly find: (filter: SeriesFilter) => readonly Series[];
  /** The window of the series that begins at `start`. */
  readonly read: (tier: Tier, start: number, series: Series) => Chunk | undefined;
  /** Until when there are points of 5 min; later ones are to be made of the finer ones. */
  readonly rolledUntil: () => number;
  readonly sizeBytes: () => number;
  /** Writes down what is in memory. */
  readonly close: () => void;
};

export type HistoryOptions = {
  /** Of the file; `:memory:` in tests. */
  readonly path: string;
  /** Above it the oldest windows go. 0 keeps no history. */
  readonly bytesMax: number;
  readonly logger: Logger;
};

/** A window of a series that is not, or not as it is now, in the file. */
type Live = {
  readonly key: SeriesKey;
  readonly start: number;
  readonly chunk: Chunk;
  series: number;
  lastAt: number;
  writtenAt: number;
  isDirty: boolean;
};

const WRITE_EVERY_MS = 120_000;
const WRITE_SPREAD = 120;
/** Series written in one call: some 5 ms. With very many, a window's worth is still written before the next ends. */
const WRITES_MIN = 100;
const WRITES_SHARE = 1 / 120;

export function createHistory(options: HistoryOptions): History {
  return options.bytesMax === 0 ? noHistory : new KeptHistory(options).face();
}

const noHistory: History = {
  record: () => undefined,
  tend: () => undefined,
  find: () => [],
  read: () => undefined,
  rolledUntil: () => 0,
  sizeBytes: () => 0,
  close: () => undefined,
};

class KeptHistory {
  readonly #options: HistoryOptions;
  #file: HistoryFile | undefined;
  #upkeep = createUpkeep();
  /** By key, of the present window; and of ended windows, what has to be written still. */
  #live = new Map<string, Live>();
  readonly #ended = new Map<string, Live>();
  #lastAt = -Infinity;

  constructor(options: HistoryOptions) {
    this.#options = options;
  }

  face(): History {
    return {
      record: (atMs, readings) => this.#record(atMs, readings),
      tend: (nowMs) => this.#tend(nowMs),
      find: (filter) => this.#find(filter),
      read: (tier, start, series) => this.#read(tier, start, series),
      rolledUntil: () => this.#withFile((file) => this.#upkeep.rolledUntil(file), 0),
      sizeBytes: () => this.#withFile((file) => file.sizeBytes(), 0),
      close: () => this.#close(),
    };
  }

  /** The file does not yet know how late the latest figures of a series are. */
  #find(filter: SeriesFilter): readonly Series[] {
    const early = { ...filter, sinceMs: filter.sinceMs - 2 * WRITE_EVERY_MS };
    return this.#withFile((file) => file.find(early), []).filter(
      (series) => (this.#live.get(nameOf(series)) ?? series).lastAt >= filter.sinceMs,
    );
  }

  #record(atMs: number, readings: readonly Reading[]): void {
    if (atMs < this.#lastAt) return;
    const start = windowOf(fine, atMs);
    if (start !== windowOf(fine, this.#lastAt)) this.#endWindow();
    this.#lastAt = atMs;
    const slot = slotOf(fine, atMs);
    this.#withFile((file) => {
      file.transaction(() => {
        for (const { key, values } of readings) {
          const live = this.#liveOf(file, key, { start, atMs });
          values.forEach((value, column) => {
            live.chunk[cellAt(fine, { column, slot })] = value;
          });
          live.isDirty = true;
          live.lastAt = atMs;
        }
      });
    }, undefined);
  }

  /** A controller that comes back in the middle of a window goes on with what the last one wrote. */
  #liveOf(
    file: HistoryFile,
    key: SeriesKey,
    { start, atMs }: { readonly start: number; readonly atMs: number },
  ): Live {
    const name = nameOf(key);
    const known = this.#live.get(name);
    if (known !== undefined) return known;
    const series = file.touch(key, atMs);
    const chunk =
      readChunk(file, fine, { start, series, kind: key.kind }) ??
      emptyChunk(fine, columnCount(key.kind));
    // Spread over the time, or all would be written in the same second.
    const writtenAt = atMs - (series % WRITE_SPREAD) * (WRITE_EVERY_MS / WRITE_SPREAD);
    const live = { key, start, chunk, series, lastAt: atMs, writtenAt, isDirty: true };
    this.#live.set(name, live);
    return live;
  }

  #endWindow(): void {
    for (const live of this.#live.values())
      if (live.isDirty) this.#ended.set(`${live.series}/${live.start}`, live);
    this.#live = new Map();
  }

  #tend(nowMs: number): void {
    const room = Math.max(WRITES_MIN, this.#live.size * WRITES_SHARE);
    const due: Live[] = [];
    for (const live of [...this.#ended.values(), ...this.#live.values()]) {
      if (due.length >= room) break;
      const isLate = nowMs - live.writtenAt >= WRITE_EVERY_MS || live.start !== this.#startOfLive();
      if (live.isDirty && isLate) due.push(live);
    }
    this.#withFile((file) => {
      this.#write(file, due, nowMs);
      this.#upkeep.tend(file, { nowMs, bytesMax: this.#options.bytesMax });
    }, undefined);
  }

  #startOfLive(): number {
    return windowOf(fine, this.#lastAt);
  }

  #write(file: HistoryFile, due: readonly Live[], nowMs: number): void {
    if (due.length === 0) return;
    file.transaction(() => {
      file.write(
        due.map(({ start, series, chunk }) => ({
          tier: fine.id,
          start,
          series,
          data: encodeChunk(chunk),
        })),
      );
      for (const { series, lastAt } of due) file.setLastAt(series, lastAt);
    });
    for (const live of due) {
      live.isDirty = false;
      live.writtenAt = nowMs;
      this.#ended.delete(`${live.series}/${live.start}`);
    }
  }

  #read(tier: Tier, start: number, series: Series): Chunk | undefined {
    const live = this.#live.get(nameOf(series));
    if (tier === fine && live?.start === start) return live.chunk;
    const ended = tier === fine ? this.#ended.get(`${series.id}/${start}`) : undefined;
    if (ended !== undefined) return ended.chunk;
    return this.#withFile(
      (file) => readChunk(file, tier, { start, series: series.id, kind: series.kind }),
      undefined,
    );
  }

  /** A file that cannot be read any more is set aside and a new one begun: history is worth less than a controller that
   * runs. @throws what is not the file's fault, such as a full disk */
  #withFile<Result>(work: (file: HistoryFile) => Result, otherwise: Result): Result {
    try {
      this.#file ??= openHistoryFile(this.#options.path);
      return work(this.#file);
    } catch (error) {
      if (!isDamaged(error)) throw error;
      this.#startAnew(error);
      return otherwise;
    }
  }

  #startAnew(error: unknown): void {
    const { path, logger } = this.#options;
    this.#file?.close();
    this.#file = undefined;
    this.#upkeep = createUpkeep();
    // Their ids are those of the old file.
    this.#live = new Map();
    this.#ended.clear();
    if (path !== ":memory:") setAside(path);
    logger.error(
      { err: error, path, kept: `${path}.damaged` },
      "the metrics history was damaged and is started anew",
    );
  }

  #close(): void {
    const file = this.#file;
    if (file === undefined) return;
    try {
      const all = [...this.#ended.values(), ...this.#live.values()];
      this.#write(file, all, this.#lastAt);
    } catch (error) {
      this.#options.logger.warn({ err: error }, "the last metrics could not be written");
    }
    file.close();
    this.#file = undefined;
  }
}

function nameOf({ kind, tenant, name }: SeriesKey): string {
  return `${kind}/${tenant}/${name}`;
}
