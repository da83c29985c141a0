/** Whose processes are, and how many of each subscription are ready: little of each row, for those who ask often. */
import { and, count, eq, inArray, isNull, sql as raw } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { processes, subscriptions } from "./schema.ts";

export type ProcessOwner = {
  readonly id: string;
  readonly tenant: string;
  readonly alias: string;
};

/** SQLite takes so many values in one statement with ease. */
const IDS_MAX = 500;

export function listProcessOwners(sql: Sql, ids: readonly string[]): readonly ProcessOwner[] {
  const owners: ProcessOwner[] = [];
  for (let at = 0; at < ids.length; at += IDS_MAX)
    owners.push(
      ...sql
        .select({ id: processes.id, tenant: subscriptions.tenant, alias: subscriptions.alias })
        .from(processes)
        .innerJoin(subscriptions, eq(subscriptions.id, processes.subscriptionId))
        .where(inArray(processes.id, ids.slice(at, at + IDS_MAX)))
        .all(),
    );
  return owners;
}

/** By id of the subscription. */
export function countReady(sql: Sql): ReadonlyMap<string, number> {
  const rows = sql
    .select({
      subscriptionId: processes.subscriptionId,
      ready: raw<number>`sum(${processes.ready} and ${processes.state} = 'running')`,
    })
    .from(processes)
    .groupBy(processes.subscriptionId)
    .all();
  return new Map(rows.map(({ subscriptionId, ready }) => [subscriptionId, ready]));
}

/** Processes that shall run and have no node. */
export function countUnplaced(sql: Sql): number {
  const row = sql
    .select({ n: count() })
    .from(processes)
    .where(and(isNull(processes.nodeId), eq(processes.desired, "running")))
    .get();
  return row?.n ?? 0;
}
