import { and, asc, eq, gt, gte, like, lt, max, sql as raw } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { audit } from "./schema-access.ts";

export type AuditRow = typeof audit.$inferSelect;

export function insertAuditEntry(sql: Sql, row: Omit<AuditRow, "id">): void {
  sql.insert(audit).values(row).run();
}

export type AuditFilter = {
  readonly principal?: string | undefined;
  readonly tenant?: string | undefined;
  /** What the path begins with. */
  readonly path?: string | undefined;
  /** RFC 3339; entries of this time and later. */
  readonly since?: string | undefined;
};

/** In their order, from the one after `after`. */
export function listAudit(
  sql: Sql,
  {
    filter,
    after,
    limit,
  }: { readonly filter: AuditFilter; readonly after: number; readonly limit: number },
): readonly AuditRow[] {
  const { principal, tenant, path, since } = filter;
  return sql
    .select()
    .from(audit)
    .where(
      and(
        gt(audit.id, after),
        principal === undefined ? undefined : eq(audit.principal, principal),
        tenant === undefined ? undefined : eq(audit.tenant, tenant),
        path === undefined
          ? undefined
          : like(audit.path, raw`${path.replaceAll(/[\\%_]/g, "\\$&")} || '%' escape '\\'`),
        since === undefined ? undefined : gte(audit.at, since),
      ),
    )
    .orderBy(asc(audit.id))
    .limit(limit)
    .all();
}

/** Forgets up to `limit` of the oldest entries, those before `before` (RFC 3339) and those beyond the newest
 * `entriesMax`. Returns how many went. */
export function trimAudit(
  sql: Sql,
  {
    before,
    entriesMax,
    limit,
  }: { readonly before: string; readonly entriesMax: number; readonly limit: number },
): number {
  const newest =
    sql
      .select({ id: max(audit.id) })
      .from(audit)
      .get()?.id ?? 0;
  const oldest = sql
    .select({ id: audit.id, at: audit.at })
    .from(audit)
    .orderBy(asc(audit.id))
    .limit(limit)
    .all();
  const kept = oldest.find(({ id, at }) => at >= before && id > newest - entriesMax);
  const end = kept?.id ?? (oldest.at(-1)?.id ?? 0) + 1;
  return sql.delete(audit).where(lt(audit.id, end)).run().changes;
}
