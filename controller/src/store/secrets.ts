import { and, eq } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { secrets } from "./schema.ts";

export type SecretRow = typeof secrets.$inferSelect;
export type SecretKey = { readonly tenant: string; readonly name: string };

export function getSecret(sql: Sql, { tenant, name }: SecretKey): SecretRow | undefined {
  return sql
    .select()
    .from(secrets)
    .where(and(eq(secrets.tenant, tenant), eq(secrets.name, name)))
    .get();
}
