import { isNull } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { subscriptions } from "./schema.ts";

/** Tenants whose subscriptions have hosts of their own, `alias.tenant.DOMAIN`. */
export function listTenantsWithHosts(sql: Sql): readonly string[] {
  return sql
    .selectDistinct({ tenant: subscriptions.tenant })
    .from(subscriptions)
    .where(isNull(subscriptions.deletedAt))
    .all()
    .map(({ tenant }) => tenant);
}
