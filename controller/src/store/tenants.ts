import { Limits } from "@strata/protocol/agent/messages";
import { and, asc, eq, gt, isNull, sql as raw } from "drizzle-orm";
import { union } from "drizzle-orm/sqlite-core";

import type { Sql } from "./database.ts";
import type { Page } from "./page.ts";
import { tenants, tokens } from "./schema-access.ts";
import { certificates } from "./schema-certificates.ts";
import { jobs, volumes } from "./schema-jobs.ts";
import { generations, secrets, subscriptions } from "./schema.ts";

export type TenantRow = typeof tenants.$inferSelect;

export function getTenant(sql: Sql, name: string): TenantRow | undefined {
  return sql.select().from(tenants).where(eq(tenants.name, name)).get();
}

export function listTenants(sql: Sql, { after, limit }: Page): readonly TenantRow[] {
  return sql
    .select()
    .from(tenants)
    .where(gt(tenants.name, after))
    .orderBy(asc(tenants.name))
    .limit(limit)
    .all();
}

export function saveTenant(sql: Sql, row: TenantRow): void {
  sql.insert(tenants).values(row).onConflictDoUpdate({ target: tenants.name, set: row }).run();
}

export function deleteTenant(sql: Sql, name: string): void {
  sql.delete(tenants).where(eq(tenants.name, name)).run();
}

/** Every tenant that a thing names, whether it has a row or not. */
export function listNamedTenants(sql: Sql): readonly string[] {
  return union(
    sql.select({ tenant: subscriptions.tenant }).from(subscriptions),
    sql.select({ tenant: secrets.tenant }).from(secrets),
    sql.select({ tenant: tokens.tenant }).from(tokens),
    sql.select({ tenant: jobs.tenant }).from(jobs),
    sql.select({ tenant: volumes.tenant }).from(volumes),
    sql.select({ tenant: certificates.tenant }).from(certificates),
  )
    .all()
    .map(({ tenant }) => tenant);
}

/** What the tenant owns, as people name it; of each kind a few. */
export function listOwned(sql: Sql, tenant: string): readonly string[] {
  const FEW = 6;
  return [
    ...sql
      .select({ name: subscriptions.alias })
      .from(subscriptions)
      .where(eq(subscriptions.tenant, tenant))
      .limit(FEW)
      .all()
      .map(({ name }) => `subscription ${name}`),
    ...sql
      .select({ name: secrets.name })
      .from(secrets)
      .where(eq(secrets.tenant, tenant))
      .limit(FEW)
      .all()
      .map(({ name }) => `secret ${name}`),
    ...sql
      .select({ name: tokens.name })
      .from(tokens)
      .where(eq(tokens.tenant, tenant))
      .limit(FEW)
      .all()
      .map(({ name }) => `token ${name}`),
    ...sql
      .select({ name: jobs.name })
      .from(jobs)
      .where(eq(jobs.tenant, tenant))
      .limit(FEW)
      .all()
      .map(({ name }) => `job ${name}`),
    ...sql
      .select({ name: volumes.name })
      .from(volumes)
      .where(eq(volumes.tenant, tenant))
      .limit(FEW)
      .all()
      .map(({ name }) => `volume ${name}`),
    ...sql
      .select({ name: certificates.name })
      .from(certificates)
      .where(eq(certificates.tenant, tenant))
      .limit(FEW)
      .all()
      .map(({ name }) => `certificate ${name}`),
  ];
}

/** What each live subscription of a tenant wishes for, and what one process of it may use. */
export type Wish = {
  readonly processes: number;
  readonly scalingPolicy: string | null;
  readonly limits: Limits;
};

export function listWishes(sql: Sql, tenant: string): readonly Wish[] {
  return sql
    .select({
      processes: subscriptions.processes,
      scalingPolicy: subscriptions.scalingPolicy,
      // As text: the rest of a specification can be long.
      limits: raw<string>`json_extract(${generations.spec}, '$.limits')`,
    })
    .from(subscriptions)
    .innerJoin(
      generations,
      and(
        eq(generations.subscriptionId, subscriptions.id),
        eq(generations.generation, subscriptions.generation),
      ),
    )
    .where(and(eq(subscriptions.tenant, tenant), isNull(subscriptions.deletedAt)))
    .all()
    .map((row) => ({ ...row, limits: Limits.parse(JSON.parse(row.limits)) }));
}
