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
