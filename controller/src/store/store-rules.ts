import { asc, eq, gt } from "drizzle-orm";

import type { Sql } from "./database.ts";
import type { Page } from "./page.ts";
import { retentionPolicies, storeQuotas } from "./schema.ts";

export type RetentionPolicyRow = typeof retentionPolicies.$inferSelect;
export type StoreQuotaRow = typeof storeQuotas.$inferSelect;

export function getRetentionPolicy(sql: Sql, name: string): RetentionPolicyRow | undefined {
  return sql.select().from(retentionPolicies).where(eq(retentionPolicies.name, name)).get();
}

export function listRetentionPolicies(
  sql: Sql,
  { after, limit }: Page,
): readonly RetentionPolicyRow[] {
  return sql
    .select()
    .from(retentionPolicies)
    .where(gt(retentionPolicies.name, after))
    .orderBy(asc(retentionPolicies.name))
    .limit(limit)
    .all();
}

export function saveRetentionPolicy(sql: Sql, row: RetentionPolicyRow): void {
  sql
    .insert(retentionPolicies)
    .values(row)
    .onConflictDoUpdate({ target: retentionPolicies.name, set: row })
    .run();
}

export function deleteRetentionPolicy(sql: Sql, name: string): void {
  sql.delete(retentionPolicies).where(eq(retentionPolicies.name, name)).run();
}

export function getStoreQuota(sql: Sql, name: string): StoreQuotaRow | undefined {
  return sql.select().from(storeQuotas).where(eq(storeQuotas.name, name)).get();
}

export function listStoreQuotas(sql: Sql, { after, limit }: Page): readonly StoreQuotaRow[] {
  return sql
    .select()
    .from(storeQuotas)
    .where(gt(storeQuotas.name, after))
    .orderBy(asc(storeQuotas.name))
    .limit(limit)
    .all();
}

export function saveStoreQuota(sql: Sql, row: StoreQuotaRow): void {
  sql
    .insert(storeQuotas)
    .values(row)
    .onConflictDoUpdate({ target: storeQuotas.name, set: row })
    .run();
}

export function deleteStoreQuota(sql: Sql, name: string): void {
  sql.delete(storeQuotas).where(eq(storeQuotas.name, name)).run();
}
