import { RouteInput } from "@strata/protocol/api/routes";
import { and, asc, eq, gt, sql as raw } from "drizzle-orm";

import type { Sql } from "./database.ts";
import type { Page } from "./page.ts";
import { routes } from "./schema-network.ts";

export type RouteRow = typeof routes.$inferSelect;
export type RouteKey = { readonly tenant: string; readonly name: string };

export function getRoute(sql: Sql, { tenant, name }: RouteKey): RouteRow | undefined {
  return sql
    .select()
    .from(routes)
    .where(and(eq(routes.tenant, tenant), eq(routes.name, name)))
    .get();
}

export function listRoutesOfTenant(
  sql: Sql,
  tenant: string,
  { after, limit }: Page,
): readonly RouteRow[] {
  return sql
    .select()
    .from(routes)
    .where(and(eq(routes.tenant, tenant), gt(routes.name, after)))
    .orderBy(asc(routes.name))
    .limit(limit)
    .all();
}

export function listRoutes(sql: Sql): readonly RouteRow[] {
  return sql.select().from(routes).orderBy(asc(routes.tenant), asc(routes.name)).all();
}

/** Those that lead to the subscription. */
export function listRoutesTo(
  sql: Sql,
  { tenant, alias }: { readonly tenant: string; readonly alias: string },
): readonly RouteRow[] {
  const named = raw`exists (select 1 from json_each(${routes.spec}, '$.backends')
    where json_extract(value, '$.subscription') = ${alias})`;
  return sql
    .select()
    .from(routes)
    .where(and(eq(routes.tenant, tenant), named))
    .orderBy(asc(routes.name))
    .all();
}

export function saveRoute(sql: Sql, row: RouteRow): void {
  sql
    .insert(routes)
    .values(row)
    .onConflictDoUpdate({ target: [routes.tenant, routes.name], set: row })
    .run();
}

export function deleteRoute(sql: Sql, { tenant, name }: RouteKey): void {
  sql
    .delete(routes)
    .where(and(eq(routes.tenant, tenant), eq(routes.name, name)))
    .run();
}

/** Times in milliseconds, every default filled in. */
export function parseRoute({ spec }: Pick<RouteRow, "spec">): RouteInput {
  return RouteInput.parse(spec);
}
