import { eq } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { meta } from "./schema.ts";

/** The value under `key`; when there is none, `initial` is stored and returned. */
export function getOrSetMeta(
  sql: Sql,
  key: "epoch" | "controllerId" | "storeTokenKey",
  initial: string,
): string {
  sql.insert(meta).values({ key, value: initial }).onConflictDoNothing().run();
  return sql.select().from(meta).where(eq(meta.key, key)).get()?.value ?? initial;
}

/** Undefined when there is none. */
export function getMeta(
  sql: Sql,
  key: "follows" | "restored" | "serviceNumber",
): string | undefined {
  return sql.select().from(meta).where(eq(meta.key, key)).get()?.value;
}

export function setMeta(
  sql: Sql,
  key: "follows" | "restored" | "serviceNumber",
  value: string,
): void {
  sql
    .insert(meta)
    .values({ key, value })
    .onConflictDoUpdate({ target: meta.key, set: { value } })
    .run();
}
