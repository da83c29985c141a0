import { and, asc, eq, gt, inArray } from "drizzle-orm";

import type { Sql } from "./database.ts";
import type { Page } from "./page.ts";
import { cartridges } from "./schema.ts";

export type CartridgeRow = typeof cartridges.$inferSelect;

export function getCartridge(sql: Sql, name: string): CartridgeRow | undefined {
  return sql.select().from(cartridges).where(eq(cartridges.name, name)).get();
}

/** @param tenants whose; left out, everybody's */
export function listCartridges(
  sql: Sql,
  { after, limit }: Page,
  tenants?: readonly string[],
): readonly CartridgeRow[] {
  return sql
    .select()
    .from(cartridges)
    .where(
      and(
        gt(cartridges.name, after),
        tenants === undefined ? undefined : inArray(cartridges.tenant, [...tenants]),
      ),
    )
    .orderBy(asc(cartridges.name))
    .limit(limit)
    .all();
}

export function listCartridgesOfPartition(sql: Sql, partition: string): readonly CartridgeRow[] {
  return sql.select().from(cartridges).where(eq(cartridges.partition, partition)).all();
}

export function saveCartridge(sql: Sql, row: CartridgeRow): void {
  sql
    .insert(cartridges)
    .values(row)
    .onConflictDoUpdate({ target: cartridges.name, set: row })
    .run();
}

export function deleteCartridge(sql: Sql, name: string): void {
  sql.delete(cartridges).where(eq(cartridges.name, name)).run();
}
