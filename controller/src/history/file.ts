/** The SQLite file of the metrics history: beside the main database and never in its way. A row holds a window of one
 * series. Losing the last seconds at a power cut is fine here, so nothing waits for the disk. */
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { dirname } from "node:path";

import { getErrorCode } from "@strata/protocol/errors";
import Database from "better-sqlite3";

import type { SeriesKind } from "./series.ts";

/** What a series is of. Names and not ids of the main database, so that the history of a subscription goes on when it
 * is deleted and made again. */
export type SeriesKey = {
  readonly kind: SeriesKind;
  /** Empty for a node. */
  readonly tenant: string;
  /** The process's id, the subscription's alias, the node's name. */
  readonly name: string;
  /** Of a process; empty for others. */
  readonly subscription: string;
  readonly node: string;
};

export type Series = SeriesKey & {
  readonly id: number;
  readonly firstAt: number;
  readonly lastAt: number;
};

export type SeriesFilter = {
  readonly kind: SeriesKind;
  /** Left out, every tenant. */
  readonly tenant?: string | undefined;
  readonly name?: string | undefined;
  readonly subscription?: string | undefined;
  readonly node?: string | undefined;
  readonly sinceMs: number;
  readonly limit: number;
};

export type ChunkRow = {
  readonly tier: number;
  readonly start: number;
  readonly series: number;
  readonly data: Buffer;
};

export type HistoryFile = {
  /** The id of the series, which is made when there is none. */
  readonly touch: (key: SeriesKey, atMs: number) => number;
  readonly setLastAt: (id: number, atMs: number) => void;
  readonly write: (rows: readonly ChunkRow[]) => void;
  readonly read: (at: Omit<ChunkRow, "data">) => Buffer | undefined;
  readonly find: (filter: SeriesFilter) => readonly Series[];
  /** Those that had figures at `sinceMs` or later, by id. */
  readonly listAfter: (id: number, sinceMs: number, limit: number) => readonly Series[];
  /** Processes without figures since then. */
  readonly listEnded: (beforeMs: number, limit: number) => readonly Series[];
  readonly forget: (series: Series, windows: readonly number[]) => void;
  /** Deletes the oldest window of the tier when it is older. Returns whether it did. */
  readonly dropWindow: (tier: number, beforeMs: number) => boolean;
  /** Deletes the oldest window of all. */
  readonly dropOldest: () => boolean;
  readonly getNote: (name: string) => number | undefined;
  readonly setNote: (name: string, value: number) => void;
  /** In use, without what deleted rows left free. */
  readonly sizeBytes: () => number;
  /** Gives some of what deleted rows left free back to the disk. */
  readonly shrink: () => void;
  readonly transaction: (work: () => void) => void;
  readonly close: () => void;
};

const SCHEMA = `
  create table if not exists series (
    id integer primary key, kind text not null, tenant text not null, name text not null,
    subscription text not null, node text not null, first_at integer not null,
    last_at integer not null, unique (kind, tenant, name));
  create table if not exists chunks (
    tier integer not null, start integer not null, series integer not null, data blob not null,
    primary key (tier, start, series)) without rowid;
  create table if not exists notes (name text primary key, value integer not null);
`;
/** Of the layout above and of the columns; another one is started anew. */
const VERSION = 1;
const SHRINK_PAGES = 2000;

/** Opens or makes the file. @throws an error of SQLite; `isDamaged` tells whether the file is what is wrong */
export function openHistoryFile(path: string): HistoryFile {
  if (path !== ":memory:") mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const client = new Database(path, { timeout: 1000 });
  try {
    client.pragma("auto_vacuum = INCREMENTAL");
    client.pragma("journal_mode = WAL");
    client.pragma("synchronous = NORMAL");
    const version = Number(client.pragma("user_version", { simple: true }));
    if (version !== 0 && version !== VERSION) throw new VersionUnknown();
    client.exec(SCHEMA);
    client.pragma(`user_version = ${VERSION}`);
    return { ...seriesOf(client), ...chunksOf(client), ...upkeepOf(client) };
  } catch (error) {
    client.close();
    throw error;
  }
}

class VersionUnknown extends Error {}

/** Whether the file cannot be read any more, rather than the disk being full or busy. */
export function isDamaged(error: unknown): boolean {
  const code = getErrorCode(error) ?? "";
  return (
    code.startsWith("SQLITE_CORRUPT") || code === "SQLITE_NOTADB" || error instanceof VersionUnknown
  );
}

/** Gives what cannot be read another name, for whoever wants to look at it. One such file is kept. */
export function setAside(path: string): void {
  for (const ending of ["", "-wal", "-shm"])
    if (existsSync(path + ending)) renameSync(path + ending, `${path}.damaged${ending}`);
}

const SERIES =
  "select id, kind, tenant, name, subscription, node, first_at as firstAt, last_at as lastAt from series";

function seriesOf(
  client: Database.Database,
): Pick<HistoryFile, "touch" | "setLastAt" | "find" | "listAfter" | "listEnded" | "forget"> {
  const touch = client.prepare<[string, string, string, string, string, number, number]>(
    `insert into series (kind, tenant, name, subscription, node, first_at, last_at)
     values (?, ?, ?, ?, ?, ?, ?)
     on conflict do update set last_at = max(last_at, excluded.last_at),
       subscription = excluded.subscription, node = excluded.node
     returning id`,
  );
  const setLastAt = client.prepare<[number, number, number]>(
    "update series set last_at = ? where id = ? and last_at < ?",
  );
  const find = client.prepare<[Record<string, string | number | null>], Series>(
    `${SERIES} where kind = @kind and last_at >= @sinceMs
       and (@tenant is null or tenant = @tenant) and (@name is null or name = @name)
       and (@subscription is null or subscription = @subscription)
       and (@node is null or node = @node)
     order by tenant, name limit @limit`,
  );
  const after = client.prepare<[number, number, number], Series>(
    `${SERIES} where id > ? and last_at >= ? order by id limit ?`,
  );
  const ended = client.prepare<[number, number], Series>(
    `${SERIES} where kind = 'process' and last_at < ? limit ?`,
  );
  const forgetChunk = client.prepare<[number, number, number]>(
    "delete from chunks where tier = ? and start = ? and series = ?",
  );
  const forgetSeries = client.prepare<[number]>("delete from series where id = ?");
  return {
    touch: ({ kind, tenant, name, subscription, node }, atMs) => {
      const row = touch.get(kind, tenant, name, subscription, node, atMs, atMs);
      return Number(new Map(Object.entries(row ?? {})).get("id"));
    },
    setLastAt: (id, atMs) => void setLastAt.run(atMs, id, atMs),
    find: ({ kind, tenant, name, subscription, node, sinceMs, limit }) =>
      find.all({
        kind,
        sinceMs,
        limit,
        tenant: tenant ?? null,
        name: name ?? null,
        subscription: subscription ?? null,
        node: node ?? null,
      }),
    listAfter: (id, sinceMs, limit) => after.all(id, sinceMs, limit),
    listEnded: (beforeMs, limit) => ended.all(beforeMs, limit),
    forget: ({ id }, windows) => {
      for (const start of windows) forgetChunk.run(1, start, id);
      forgetSeries.run(id);
    },
  };
}

function chunksOf(
  client: Database.Database,
): Pick<HistoryFile, "read" | "write" | "dropWindow" | "dropOldest"> {
  const put = client.prepare<[number, number, number, Buffer]>(
    "insert or replace into chunks (tier, start, series, data) values (?, ?, ?, ?)",
  );
  const get = client.prepare<[number, number, number], { data: Buffer }>(
    "select data from chunks where tier = ? and start = ? and series = ?",
  );
  const oldest = client.prepare<[number], { start: number | null }>(
    "select min(start) as start from chunks where tier = ?",
  );
  const drop = client.prepare<[number, number]>("delete from chunks where tier = ? and start = ?");
  const oldestOf = (tier: number): number => oldest.get(tier)?.start ?? Infinity;
  return {
    write: (rows) => {
      for (const { tier, start, series, data } of rows) put.run(tier, start, series, data);
    },
    read: ({ tier, start, series }) => get.get(tier, start, series)?.data,
    dropWindow: (tier, beforeMs) => {
      const start = oldestOf(tier);
      return start < beforeMs && drop.run(tier, start).changes > 0;
    },
    dropOldest: () => {
      const [fine, coarse] = [oldestOf(0), oldestOf(1)];
      const tier = coarse < fine ? 1 : 0;
      return drop.run(tier, Math.min(fine, coarse)).changes > 0;
    },
  };
}

function upkeepOf(
  client: Database.Database,
): Pick<HistoryFile, "getNote" | "setNote" | "sizeBytes" | "shrink" | "transaction" | "close"> {
  const get = client.prepare<[string], { value: number }>("select value from notes where name = ?");
  const put = client.prepare<[string, number]>(
    "insert or replace into notes (name, value) values (?, ?)",
  );
  const number = (pragma: string): number => Number(client.pragma(pragma, { simple: true }));
  return {
    getNote: (name) => get.get(name)?.value,
    setNote: (name, value) => void put.run(name, value),
    sizeBytes: () => (number("page_count") - number("freelist_count")) * number("page_size"),
    shrink: () => void client.pragma(`incremental_vacuum(${SHRINK_PAGES})`),
    transaction: (work) => client.transaction(work)(),
    close: () => void client.close(),
  };
}
