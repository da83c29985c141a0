/** Processes in memory, found by their node and by their subscription. */
import { createOrderedRows, type OrderedRows } from "./ordered-rows.ts";
import type { processes } from "./schema.ts";

export type ProcessRow = typeof processes.$inferSelect;

/** Rows are never changed, only replaced; lists are the same arrays as long as none of theirs was. */
export type ProcessRows = {
  readonly all: ReadonlyMap<string, ProcessRow>;
  readonly ofNode: (nodeId: string) => readonly ProcessRow[];
  readonly ofSubscription: (subscriptionId: string) => readonly ProcessRow[];
  /** With the subscriptions that have some. */
  readonly bySubscription: () => ReadonlyMap<string, readonly ProcessRow[]>;
};

export type KeptProcesses = ProcessRows & {
  readonly put: (row: ProcessRow) => void;
  readonly drop: (id: string) => void;
  /** Subscriptions whose processes have changed since the last call. */
  readonly takeChanged: () => ReadonlySet<string>;
};

export function createProcessRows(): KeptProcesses {
  const all = new Map<string, ProcessRow>();
  const byNode = createIndex();
  const bySubscription = createIndex();
  let changed = new Set<string>();
  return {
    all,
    ofNode: byNode.get,
    ofSubscription: bySubscription.get,
    bySubscription: bySubscription.entries,
    put: (row) => {
      const before = all.get(row.id);
      if (before !== undefined && before.nodeId !== null && before.nodeId !== row.nodeId)
        byNode.remove(before.nodeId, row.id);
      all.set(row.id, row);
      if (row.nodeId !== null) byNode.put(row.nodeId, row);
      bySubscription.put(row.subscriptionId, row);
      changed.add(row.subscriptionId);
    },
    drop: (id) => {
      const row = all.get(id);
      if (row === undefined) return;
      all.delete(id);
      if (row.nodeId !== null) byNode.remove(row.nodeId, id);
      bySubscription.remove(row.subscriptionId, id);
      changed.add(row.subscriptionId);
    },
    takeChanged: () => {
      const taken = changed;
      changed = new Set();
      return taken;
    },
  };
}

type Index = {
  readonly entries: () => ReadonlyMap<string, readonly ProcessRow[]>;
  readonly get: (key: string) => readonly ProcessRow[];
  readonly put: (key: string, row: ProcessRow) => void;
  readonly remove: (key: string, id: string) => void;
};

const NO_ROWS: readonly ProcessRow[] = [];

/** In the order in which they were made. */
function createIndex(): Index {
  const groups = new Map<string, OrderedRows<ProcessRow>>();
  let entries: ReadonlyMap<string, readonly ProcessRow[]> = new Map();
  const changed = new Set<string>();
  return {
    get: (key) => groups.get(key)?.all() ?? NO_ROWS,
    entries: () => {
      if (changed.size === 0) return entries;
      const next = new Map(entries);
      for (const key of changed) {
        const rows = groups.get(key)?.all();
        if (rows === undefined) next.delete(key);
        else next.set(key, rows);
      }
      changed.clear();
      entries = next;
      return entries;
    },
    put: (key, row) => {
      const group = groups.get(key) ?? createOrderedRows<ProcessRow>(byAge);
      groups.set(key, group);
      group.put(row);
      changed.add(key);
    },
    remove: (key, id) => {
      const group = groups.get(key);
      group?.drop(id);
      if (group?.size() === 0) groups.delete(key);
      changed.add(key);
    },
  };
}

function byAge(left: ProcessRow, right: ProcessRow): number {
  if (left.createdAt !== right.createdAt) return left.createdAt < right.createdAt ? -1 : 1;
  if (left.id === right.id) return 0;
  return left.id < right.id ? -1 : 1;
}
