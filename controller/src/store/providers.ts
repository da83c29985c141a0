import { asc, eq, gt } from "drizzle-orm";

import type { Sql } from "./database.ts";
import type { Page } from "./page.ts";
import { providers } from "./schema.ts";

export type ProviderRow = typeof providers.$inferSelect;

export function getProvider(sql: Sql, name: string): ProviderRow | undefined {
  return sql.select().from(providers).where(eq(providers.name, name)).get();
}

export function listProviders(sql: Sql, { after, limit }: Page): readonly ProviderRow[] {
  return sql
    .select()
    .from(providers)
    .where(gt(providers.name, after))
    .orderBy(asc(providers.name))
    .limit(limit)
    .all();
}

export function listAllProviders(sql: Sql): readonly ProviderRow[] {
  return sql.select().from(providers).orderBy(asc(providers.name)).all();
}

export function saveProvider(sql: Sql, row: ProviderRow): void {
  sql.insert(providers).values(row).onConflictDoUpdate({ target: providers.name, set: row }).run();
}

export function deleteProvider(sql: Sql, name: string): void {
  sql.delete(providers).where(eq(providers.name, name)).run();
}
