import { and, asc, count, eq, gt, sql as raw } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { keepStatements } from "./kept-statements.ts";
import type { Page } from "./page.ts";
import { vms } from "./schema-autoscale.ts";

export type VmRow = typeof vms.$inferSelect;

export function getVm(sql: Sql, id: string): VmRow | undefined {
  return sql.select().from(vms).where(eq(vms.id, id)).get();
}

const ofNodeStatement = keepStatements((sql) =>
  sql
    .select()
    .from(vms)
    .where(eq(vms.nodeId, raw.placeholder("nodeId")))
    .prepare(),
);

export function getVmOfNode(sql: Sql, nodeId: string): VmRow | undefined {
  return ofNodeStatement(sql).get({ nodeId });
}

export function getVmOfJoinToken(sql: Sql, joinTokenId: string): VmRow | undefined {
  return sql.select().from(vms).where(eq(vms.joinTokenId, joinTokenId)).get();
}

/** Oldest first. */
export function listVms(sql: Sql): readonly VmRow[] {
  return sql.select().from(vms).orderBy(asc(vms.requestedAt), asc(vms.id)).all();
}

export type VmFilter = {
  readonly partition?: string | undefined;
  readonly provider?: string | undefined;
};

export function listVmsPage(
  sql: Sql,
  { after, limit, partition, provider }: Page & VmFilter,
): readonly VmRow[] {
  return sql
    .select()
    .from(vms)
    .where(and(gt(vms.id, after), matches({ partition, provider })))
    .orderBy(asc(vms.id))
    .limit(limit)
    .all();
}

export function countVms(sql: Sql, filter: VmFilter): number {
  return sql.select({ n: count() }).from(vms).where(matches(filter)).get()?.n ?? 0;
}

export function countVmsByState(sql: Sql): ReadonlyMap<VmRow["state"], number> {
  const rows = sql.select({ state: vms.state, n: count() }).from(vms).groupBy(vms.state).all();
  return new Map(rows.map(({ state, n }) => [state, n]));
}

export function insertVm(sql: Sql, row: VmRow): void {
  sql.insert(vms).values(row).run();
}

export function updateVm(sql: Sql, id: string, change: Partial<VmRow>): void {
  sql.update(vms).set(change).where(eq(vms.id, id)).run();
}

export function deleteVm(sql: Sql, id: string): void {
  sql.delete(vms).where(eq(vms.id, id)).run();
}

function matches({ partition, provider }: VmFilter): ReturnType<typeof and> {
  return and(
    partition === undefined ? undefined : eq(vms.partition, partition),
    provider === undefined ? undefined : eq(vms.provider, provider),
  );
}
