/** Subscriptions that name others of their tenant. */
import { and, eq, inArray, isNotNull, isNull, or } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { processes, subscriptions } from "./schema.ts";
import type { SubscriptionRow } from "./subscriptions.ts";

export type Related = Pick<
  SubscriptionRow,
  "id" | "tenant" | "alias" | "processes" | "scalingPolicy" | "dependsOn" | "ratio"
>;

const columns = {
  id: subscriptions.id,
  tenant: subscriptions.tenant,
  alias: subscriptions.alias,
  processes: subscriptions.processes,
  scalingPolicy: subscriptions.scalingPolicy,
  dependsOn: subscriptions.dependsOn,
  ratio: subscriptions.ratio,
};
const isLive = isNull(subscriptions.deletedAt);

/** Those of the tenant that name others. */
export function listNaming(sql: Sql, tenant: string): readonly Related[] {
  const names = or(isNotNull(subscriptions.dependsOn), isNotNull(subscriptions.ratio));
  return sql
    .select(columns)
    .from(subscriptions)
    .where(and(eq(subscriptions.tenant, tenant), isLive, names))
    .all();
}

/** All subscriptions of each tenant that has one with a ratio. */
export function listBesideRatios(sql: Sql): readonly Related[] {
  const tenants = sql
    .selectDistinct({ tenant: subscriptions.tenant })
    .from(subscriptions)
    .where(and(isNotNull(subscriptions.ratio), isLive))
    .all()
    .map(({ tenant }) => tenant);
  if (tenants.length === 0) return [];
  return sql
    .select(columns)
    .from(subscriptions)
    .where(and(inArray(subscriptions.tenant, tenants), isLive))
    .all();
}

/** Those that wait for others to begin and, by what is written down, have begun: a process of theirs has a node. */
export function listJustBegun(sql: Sql): readonly string[] {
  return sql
    .selectDistinct({ id: subscriptions.id })
    .from(subscriptions)
    .innerJoin(processes, eq(processes.subscriptionId, subscriptions.id))
    .where(
      and(
        isNotNull(subscriptions.dependsOn),
        isNull(subscriptions.startedAt),
        isNotNull(processes.nodeId),
      ),
    )
    .all()
    .map(({ id }) => id);
}

export function markBegun(sql: Sql, ids: readonly string[], now: string): void {
  sql
    .update(subscriptions)
    .set({ startedAt: now })
    .where(inArray(subscriptions.id, [...ids]))
    .run();
}
