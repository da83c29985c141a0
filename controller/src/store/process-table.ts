/** The table of processes in memory, as it was committed last: loops and reports look at all of it many times a second.
 * SQLite itself says which rows have changed, so nobody who writes has to. */
import type { ProcessSpec } from "@strata/protocol/agent/messages";
import type Database from "better-sqlite3";
import { getTableColumns } from "drizzle-orm";
import { CasingCache } from "drizzle-orm/casing";

import { processes } from "./schema.ts";

export type ProcessRow = typeof processes.$inferSelect;

/** Rows are never changed, only replaced. Undefined while a transaction is open, which may see what others must not. */
export type ProcessTable = {
  readonly read: () => ProcessRows | undefined;
  /** Subscriptions whose processes have changed since the last call, as far as they were read. */
  readonly takeChanged: () => ReadonlySet<string>;
};

export type ProcessRows = {
  readonly all: ReadonlyMap<string, ProcessRow>;
  readonly ofNode: (nodeId: string) => readonly ProcessRow[];
  /** What it runs: a generation never changes. */
  readonly specOf: (row: Pick<ProcessRow, "subscriptionId" | "generation">) => ProcessSpec;
  readonly ofSubscription: (subscriptionId: string) => readonly ProcessRow[];
  /** With the subscriptions that have some. */
  readonly bySubscription: () => ReadonlyMap<string, readonly ProcessRow[]>;
};

/** In memory and of this connection alone; what a transaction that is taken back noted is taken back as well. */
const NOTE_CHANGES = `
  create temp table changed_processes (id text primary key) without rowid;
  create temp trigger note_new_process after insert on main.processes
    begin insert or ignore into changed_processes values (new.id); end;
  create temp trigger note_changed_process after update on main.processes
    begin insert or ignore into changed_processes values (new.id); end;
  create temp trigger note_gone_process after delete on main.processes
    begin insert or ignore into changed_processes values (old.id); end;
`;

/** Of a database whose tables are as they shall be. */
export function openProcessTable(client: Database.Database): ProcessTable {
  client.pragma("temp_store = memory");
  client.exec(NOTE_CHANGES);
  const { columns, decode } = createDecoder();
  const select = `select ${columns} from main.processes`;
  const changed = client.prepare<[], string>("select id from changed_processes").pluck();
  const forget = client.prepare("delete from changed_processes");
  const readChanged = client
    .prepare<[], unknown[]>(`${select} where id in (select id from changed_processes)`)
    .raw();
  const rows = createRows(createSpecs(client));
  let moved = new Set<string>();
  for (const values of client.prepare<[], unknown[]>(select).raw().all()) rows.put(decode(values));
  return {
    read: () => {
      if (client.inTransaction) return undefined;
      const ids = changed.all();
      if (ids.length > 0) {
        for (const id of ids) {
          const gone = rows.all.get(id);
          if (gone !== undefined) moved.add(gone.subscriptionId);
          rows.drop(id);
        }
        for (const values of readChanged.all()) {
          const row = decode(values);
          moved.add(row.subscriptionId);
          rows.put(row);
        }
        forget.run();
      }
      return rows;
    },
    takeChanged: () => {
      const taken = moved;
      moved = new Set();
      return taken;
    },
  };
}

/** By the columns of the schema, without what makes drizzle's own way slow for many rows. */
function createDecoder(): {
  readonly columns: string;
  readonly decode: (values: readonly unknown[]) => ProcessRow;
} {
  const casing = new CasingCache("snake_case");
  const columns = Object.entries(getTableColumns(processes));
  return {
    columns: columns.map(([, column]) => `"${casing.getColumnCasing(column)}"`).join(", "),
    decode: (values) => {
      const row: Record<string, unknown> = {};
      for (let index = 0; index < columns.length; index += 1) {
        const [name, column] = columns[index] ?? [];
        const value = values[index];
        if (name !== undefined)
          row[name] = value === null ? null : column?.mapFromDriverValue(value);
      }
      return parseRow(row);
    },
  };
}

/** What the schema says of the table's columns is so: every write goes by it. */
function parseRow(row: Record<string, unknown>): ProcessRow {
  return row as ProcessRow;
}

/** Kept at once; all are forgotten when there are more. */
const SPECS_MAX = 20_000;

function createSpecs(client: Database.Database): ProcessRows["specOf"] {
  const specs = new Map<string, ProcessSpec>();
  const read = client
    .prepare<[string, number], string>(
      "select spec from generations where subscription_id = ? and generation = ?",
    )
    .pluck();
  return ({ subscriptionId, generation }) => {
    const key = `${subscriptionId}/${generation}`;
    const known = specs.get(key);
    if (known !== undefined) return known;
    const text = read.get(subscriptionId, generation);
    if (text === undefined) throw new Error(`there is no generation ${key}`);
    if (specs.size >= SPECS_MAX) specs.clear();
    const spec = parseSpec(text);
    specs.set(key, spec);
    return spec;
  };
}

/** As it was written; older ones may lack what is newer, as ever. */
function parseSpec(text: string): ProcessSpec {
  return JSON.parse(text) as ProcessSpec;
}

type Rows = ProcessRows & {
  readonly put: (row: ProcessRow) => void;
  readonly drop: (id: string) => void;
};

function createRows(specOf: ProcessRows["specOf"]): Rows {
  const all = new Map<string, ProcessRow>();
  const byNode = createIndex();
  const bySubscription = createIndex();
  return {
    all,
    specOf,
    ofNode: byNode.get,
    ofSubscription: bySubscription.get,
    bySubscription: bySubscription.entries,
    put: (row) => {
      all.set(row.id, row);
      if (row.nodeId !== null) byNode.add(row.nodeId, row);
      bySubscription.add(row.subscriptionId, row);
    },
    drop: (id) => {
      const row = all.get(id);
      if (row === undefined) return;
      all.delete(id);
      if (row.nodeId !== null) byNode.remove(row.nodeId, row);
      bySubscription.remove(row.subscriptionId, row);
    },
  };
}

type Index = {
  readonly entries: () => ReadonlyMap<string, readonly ProcessRow[]>;
  readonly get: (key: string) => readonly ProcessRow[];
  readonly add: (key: string, row: ProcessRow) => void;
  readonly remove: (key: string, row: ProcessRow) => void;
};

/** In the order in which they were made. */
function createIndex(): Index {
  const groups = new Map<string, Map<string, ProcessRow>>();
  const sorted = new Map<string, readonly ProcessRow[]>();
  const get: Index["get"] = (key) => {
    const known = sorted.get(key);
    if (known !== undefined) return known;
    const rows = [...(groups.get(key)?.values() ?? [])].toSorted(byAge);
    if (rows.length > 0) sorted.set(key, rows);
    return rows;
  };
  return {
    get,
    entries: () => new Map([...groups.keys()].map((key) => [key, get(key)])),
    add: (key, row) => {
      const group = groups.get(key) ?? new Map<string, ProcessRow>();
      group.set(row.id, row);
      groups.set(key, group);
      sorted.delete(key);
    },
    remove: (key, row) => {
      const group = groups.get(key);
      group?.delete(row.id);
      if (group?.size === 0) groups.delete(key);
      sorted.delete(key);
    },
  };
}

function byAge(left: ProcessRow, right: ProcessRow): number {
  if (left.createdAt !== right.createdAt) return left.createdAt < right.createdAt ? -1 : 1;
  return left.id < right.id ? -1 : 1;
}
