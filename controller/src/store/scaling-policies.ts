import { type ScalingPolicy, ScalingPolicyInput } from "@strata/protocol/api/autoscale";
import { asc, eq, gt } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { keepStatements } from "./kept-statements.ts";
import type { Page } from "./page.ts";
import { scalingPolicies } from "./schema.ts";

export type ScalingPolicyRow = typeof scalingPolicies.$inferSelect;

/** Times in milliseconds, every default filled in. */
export function parseScalingPolicy({ policy }: Pick<ScalingPolicyRow, "policy">): ScalingPolicy {
  return ScalingPolicyInput.parse(policy);
}

export function getScalingPolicy(sql: Sql, name: string): ScalingPolicyRow | undefined {
  return sql.select().from(scalingPolicies).where(eq(scalingPolicies.name, name)).get();
}

/** Undefined for a subscription without one. */
export function readScalingPolicy(sql: Sql, name: string | null): ScalingPolicy | undefined {
  const row = name === null ? undefined : getScalingPolicy(sql, name);
  return row === undefined ? undefined : parseScalingPolicy(row);
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

const revisionsStatement = keepStatements((sql) =>
  sql
    .select({ name: scalingPolicies.name, revision: scalingPolicies.revision })
    .from(scalingPolicies)
    .prepare(),
);

export function listScalingPolicyRevisions(
  sql: Sql,
): readonly Pick<ScalingPolicyRow, "name" | "revision">[] {
  return revisionsStatement(sql).all();
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
