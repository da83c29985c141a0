import { type PartitionPolicy, PartitionPolicyInput } from "@strata/protocol/api/autoscale";
import { asc, count, eq, gt } from "drizzle-orm";

import type { Sql } from "./database.ts";
import type { Page } from "./page.ts";
import { partitionPolicies, partitions, processes, subscriptions } from "./schema.ts";

export type PartitionRow = typeof partitions.$inferSelect;
export type PartitionPolicyRow = typeof partitionPolicies.$inferSelect;

export function getPartition(sql: Sql, name: string): PartitionRow | undefined {
  return sql.select().from(partitions).where(eq(partitions.name, name)).get();
}

export function listPartitions(sql: Sql, { after, limit }: Page): readonly PartitionRow[] {
  return sql
    .select()
    .from(partitions)
    .where(gt(partitions.name, after))
    .orderBy(asc(partitions.name))
    .limit(limit)
    .all();
}

export function listAllPartitions(sql: Sql): readonly PartitionRow[] {
  return sql.select().from(partitions).orderBy(asc(partitions.name)).all();
}

export function savePartition(sql: Sql, row: PartitionRow): void {
  sql
    .insert(partitions)
    .values(row)
    .onConflictDoUpdate({ target: partitions.name, set: row })
    .run();
}

export function deletePartition(sql: Sql, name: string): void {
  sql.delete(partitions).where(eq(partitions.name, name)).run();
}

export function listPartitionsOfPolicy(sql: Sql, policy: string): readonly PartitionRow[] {
  return sql.select().from(partitions).where(eq(partitions.policy, policy)).all();
}

export function countProcessesOfPartition(sql: Sql, partition: string): number {
  const row = sql
    .select({ n: count() })
    .from(processes)
    .innerJoin(subscriptions, eq(subscriptions.id, processes.subscriptionId))
    .where(eq(subscriptions.partition, partition))
    .get();
  return row?.n ?? 0;
}

/** Times in milliseconds, every default filled in. */
export function parsePartitionPolicy({
  policy,
}: Pick<PartitionPolicyRow, "policy">): PartitionPolicy {
  return PartitionPolicyInput.parse(policy);
}

export function getPartitionPolicy(sql: Sql, name: string): PartitionPolicyRow | undefined {
  return sql.select().from(partitionPolicies).where(eq(partitionPolicies.name, name)).get();
}

export function listPartitionPolicies(
  sql: Sql,
  { after, limit }: Page,
): readonly PartitionPolicyRow[] {
  return sql
    .select()
    .from(partitionPolicies)
    .where(gt(partitionPolicies.name, after))
    .orderBy(asc(partitionPolicies.name))
    .limit(limit)
    .all();
}

export function listAllPartitionPolicies(sql: Sql): readonly PartitionPolicyRow[] {
  return sql.select().from(partitionPolicies).all();
}

export function savePartitionPolicy(sql: Sql, row: PartitionPolicyRow): void {
  sql
    .insert(partitionPolicies)
    .values(row)
    .onConflictDoUpdate({ target: partitionPolicies.name, set: row })
    .run();
}

export function deletePartitionPolicy(sql: Sql, name: string): void {
  sql.delete(partitionPolicies).where(eq(partitionPolicies.name, name)).run();
}
