import { asc, eq, gt } from "drizzle-orm";

import type { Sql } from "./database.ts";
import type { Page } from "./page.ts";
import { scalingPolicies } from "./schema.ts";

export type ScalingPolicyRow = typeof scalingPolicies.$inferSelect;

export function getScalingPolicy(sql: Sql, name: string): ScalingPolicyRow | undefined {
  return sql.select().from(scalingPolicies).where(eq(scalingPolicies.name, name)).get();
}

export function listScalingPolicies(sql: Sql, { after, limit }: Page): readonly ScalingPolicyRow[] {
  return sql
    .select()
    .from(scalingPolicies)
    .where(gt(scalingPolicies.name, after))
    .orderBy(asc(scalingPolicies.name))
    .limit(limit)
    .all();
}

export function saveScalingPolicy(sql: Sql, row: ScalingPolicyRow): void {
  sql
    .insert(scalingPolicies)
    .values(row)
    .onConflictDoUpdate({ target: scalingPolicies.name, set: row })
    .run();
}

export function deleteScalingPolicy(sql: Sql, name: string): void {
  sql.delete(scalingPolicies).where(eq(scalingPolicies.name, name)).run();
}
