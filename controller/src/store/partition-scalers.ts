import { and, desc, eq, lt, lte } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { partitionDecisions, partitionScalers } from "./schema-autoscale.ts";

export type PartitionScalerRow = typeof partitionScalers.$inferSelect;
export type PartitionDecisionRow = typeof partitionDecisions.$inferSelect;

/** Kept of each partition: weeks for one that changes a few times a day. */
const DECISIONS_MAX = 500;

export function getPartitionScaler(sql: Sql, partition: string): PartitionScalerRow | undefined {
  return sql.select().from(partitionScalers).where(eq(partitionScalers.partition, partition)).get();
}

export function savePartitionScaler(sql: Sql, row: PartitionScalerRow): void {
  sql
    .insert(partitionScalers)
    .values(row)
    .onConflictDoUpdate({ target: partitionScalers.partition, set: row })
    .run();
}

/** The oldest goes when there are many. */
export function insertPartitionDecision(sql: Sql, row: Omit<PartitionDecisionRow, "id">): void {
  sql.insert(partitionDecisions).values(row).run();
  const oldest = sql
    .select({ id: partitionDecisions.id })
    .from(partitionDecisions)
    .where(eq(partitionDecisions.partition, row.partition))
    .orderBy(desc(partitionDecisions.id))
    .offset(DECISIONS_MAX)
    .limit(1)
    .get();
  if (oldest === undefined) return;
  sql
    .delete(partitionDecisions)
    .where(
      and(eq(partitionDecisions.partition, row.partition), lte(partitionDecisions.id, oldest.id)),
    )
    .run();
}

/** Newest first, those before `before`. */
export function listPartitionDecisions(
  sql: Sql,
  {
    partition,
    before,
    limit,
  }: { readonly partition: string; readonly before: number; readonly limit: number },
): readonly PartitionDecisionRow[] {
  return sql
    .select()
    .from(partitionDecisions)
    .where(and(eq(partitionDecisions.partition, partition), lt(partitionDecisions.id, before)))
    .orderBy(desc(partitionDecisions.id))
    .limit(limit)
    .all();
}

export function latestPartitionDecision(
  sql: Sql,
  partition: string,
): PartitionDecisionRow | undefined {
  return listPartitionDecisions(sql, { partition, before: Number.MAX_SAFE_INTEGER, limit: 1 })[0];
}
