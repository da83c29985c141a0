import { desc, eq, inArray } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { formerNodes } from "./schema.ts";

export type FormerNodeRow = typeof formerNodes.$inferSelect;

/** The oldest beyond these are forgotten: their agents are then strangers. */
const FORMER_NODES_MAX = 10_000;

export function getFormerNode(sql: Sql, id: string): FormerNodeRow | undefined {
  return sql.select().from(formerNodes).where(eq(formerNodes.id, id)).get();
}

export function insertFormerNode(sql: Sql, row: FormerNodeRow): void {
  sql.insert(formerNodes).values(row).onConflictDoNothing().run();
  const old = sql
    .select({ id: formerNodes.id })
    .from(formerNodes)
    .orderBy(desc(formerNodes.deletedAt))
    .limit(1000)
    .offset(FORMER_NODES_MAX)
    .all();
  if (old.length === 0) return;
  const ids = old.map(({ id }) => id);
  sql.delete(formerNodes).where(inArray(formerNodes.id, ids)).run();
}
