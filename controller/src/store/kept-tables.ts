/** What loops and reports look at many times a second, in memory, as it was committed last. SQLite itself says what has
 * changed, so nobody who writes has to. */
import type { ProcessSpec } from "@strata/protocol/agent/messages";
import type Database from "better-sqlite3";
import { getTableName, type Table } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { createOrderedRows, type OrderedRows } from "./ordered-rows.ts";
import { createProcessRows, type ProcessRow, type ProcessRows } from "./process-rows.ts";
import { createRowDecoder } from "./row-decoder.ts";
import { nodes, processes, subscriptions } from "./schema.ts";

/** Undefined while a transaction is open, which may see what others must not. */
export type KeptTables = {
  readonly read: () => Kept | undefined;
  /** Subscriptions whose processes have changed since the last call, as far as they were read. */
  readonly takeChanged: () => ReadonlySet<string>;
};

type NodeRow = typeof nodes.$inferSelect;
type SubscriptionRow = typeof subscriptions.$inferSelect;

/** Rows are never changed, only replaced. */
export type Kept = {
  readonly processes: ProcessRows;
  /** By name. */
  readonly nodes: Pick<OrderedRows<NodeRow>, "all" | "get" | "size">;
  /** By id. */
  readonly subscriptions: Pick<OrderedRows<SubscriptionRow>, "all" | "get">;
  /** Of a generation, which never changes. */
  readonly findSpec: (
    row: Pick<ProcessRow, "subscriptionId" | "generation">,
  ) => ProcessSpec | undefined;
  /** Grows with every change of a table of `watched`. */
  readonly changesOf: (table: WatchedTable) => number;
  /** Grows with every change of any of the tables. */
  readonly changes: () => number;
};

/** Small tables that are read whole, and seldom change. */
const watched = [
  "image_signatures",
  "jobs",
  "partition_policies",
  "partitions",
  "rollouts",
  "scaling_policies",
  "signature_policies",
  "tenants",
  "vms",
  "volumes",
] as const;

export type WatchedTable = (typeof watched)[number] | "nodes" | "subscriptions";

/** In memory and of this connection alone; what a transaction that is taken back noted is taken back as well. A row may
 * be noted twice: whoever writes decides what becomes of a conflict, in triggers as well. */
const NOTES = "create temp table changes (what text, id text)";

/** Of a database whose tables are as they shall be. */
export function openKeptTables(client: Database.Database): KeptTables {
  client.pragma("temp_store = memory");
  client.exec(NOTES);
  const processRows = createProcessRows();
  const nodeRows = createOrderedRows<NodeRow>(byName);
  const subscriptionRows = createOrderedRows<SubscriptionRow>(byId);
  const rows = new Map([
    keepRows(client, processes, processRows),
    keepRows(client, nodes, nodeRows),
    keepRows(client, subscriptions, subscriptionRows),
  ]);
  for (const table of watched) noteChanges(client, table, { old: "''", new: "''" });
  const counts = new Map<string, number>();
  let total = 0;
  processRows.takeChanged();
  const kept: Kept = {
    processes: processRows,
    nodes: nodeRows,
    subscriptions: subscriptionRows,
    findSpec: createSpecs(client),
    changesOf: (table) => counts.get(table) ?? 0,
    changes: () => total,
  };
  const changes = client.prepare<[], Change>("select what, id from changes");
  const forget = client.prepare("delete from changes");
  return {
    read: () => {
      if (client.inTransaction) return undefined;
      const noted = changes.all();
      if (noted.length === 0) return kept;
      total += 1;
      for (const [what, some] of Map.groupBy(noted, (change) => change.what)) {
        counts.set(what, (counts.get(what) ?? 0) + 1);
        rows.get(what)?.(new Set(some.map(({ id }) => id)));
      }
      forget.run();
      return kept;
    },
    takeChanged: processRows.takeChanged,
  };
}

type Change = { readonly what: string; readonly id: string };

/** Each of the ids is of a new row, of a changed one, or of one that is gone. */
type Refresh = (ids: ReadonlySet<string>) => void;

function keepRows<T extends Table>(
  client: Database.Database,
  table: T,
  rows: { readonly put: (row: T["$inferSelect"]) => void; readonly drop: (id: string) => void },
): readonly [string, Refresh] {
  const name = getTableName(table);
  noteChanges(client, name, { old: "old.id", new: "new.id" });
  const { columns, decode } = createRowDecoder(table);
  const select = `select ${columns} from main.${name}`;
  const one = client.prepare<[string], unknown[]>(`${select} where id = ?`).raw();
  for (const values of client.prepare<[], unknown[]>(select).raw().all()) rows.put(decode(values));
  const refresh: Refresh = (ids) => {
    for (const id of ids) {
      const values = one.get(id);
      if (values === undefined) rows.drop(id);
      else rows.put(decode(values));
    }
  };
  return [name, refresh];
}

function noteChanges(
  client: Database.Database,
  table: string,
  id: { readonly old: string; readonly new: string },
): void {
  for (const [event, of] of [
    ["insert", id.new],
    ["update", id.new],
    ["delete", id.old],
  ])
    client.exec(`create temp trigger note_${event}_${table} after ${event} on main.${table}
      begin insert into changes values ('${table}', ${of}); end`);
}

/** Has what is read from whole tables read again when one of them has changed. Inside a transaction it is read each
 * time. */
export function keepReading<Result>(
  tables: readonly WatchedTable[],
  read: (sql: Sql) => Result,
): (sql: Sql) => Result {
  const known = new WeakMap<KeptTables, { readonly changes: number; readonly result: Result }>();
  return (sql) => {
    const kept = sql.kept?.read();
    if (sql.kept === undefined || kept === undefined) return read(sql);
    const changes = tables.reduce((sum, table) => sum + kept.changesOf(table), 0);
    const before = known.get(sql.kept);
    if (before?.changes === changes) return before.result;
    const result = read(sql);
    known.set(sql.kept, { changes, result });
    return result;
  };
}

/** Kept at once; all are forgotten when there are more. */
const SPECS_MAX = 20_000;

function createSpecs(client: Database.Database): Kept["findSpec"] {
  const specs = new Map<string, Map<number, ProcessSpec>>();
  let count = 0;
  const read = client
    .prepare<[string, number], string>(
      "select spec from generations where subscription_id = ? and generation = ?",
    )
    .pluck();
  return ({ subscriptionId, generation }) => {
    const known = specs.get(subscriptionId)?.get(generation);
    if (known !== undefined) return known;
    const text = read.get(subscriptionId, generation);
    if (text === undefined) return undefined;
    if (count >= SPECS_MAX) {
      specs.clear();
      count = 0;
    }
    const spec = parseSpec(text);
    const own = specs.get(subscriptionId) ?? new Map<number, ProcessSpec>();
    specs.set(subscriptionId, own.set(generation, spec));
    count += 1;
    return spec;
  };
}

/** As it was written; older ones may lack what is newer, as ever. */
function parseSpec(text: string): ProcessSpec {
  return JSON.parse(text) as ProcessSpec;
}

function byName(left: NodeRow, right: NodeRow): number {
  return left.name < right.name ? -1 : Number(left.name > right.name);
}

function byId(left: SubscriptionRow, right: SubscriptionRow): number {
  return left.id < right.id ? -1 : Number(left.id > right.id);
}
