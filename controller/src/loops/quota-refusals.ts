/** Which waiting processes their tenant's quota keeps from being placed. */
import { isTerminal } from "@strata/protocol/agent/process-state";
import type { TenantQuota } from "@strata/protocol/api/tenants";

import type { Problem } from "../domain/process.ts";
import { type Claim, planQuotaRefusals } from "../domain/quota.ts";
import { keepReading } from "../store/kept-tables.ts";
import { listTenants } from "../store/tenants.ts";
import type { Snapshot } from "./snapshot.ts";

const TENANTS_MAX = 1_000_000;

/** Undefined for a tenant without limits of this kind. */
export const readQuotas = keepReading(
  ["tenants"],
  (sql): ((tenant: string) => TenantQuota | undefined) => {
    const rows = listTenants(sql, { after: "", limit: TENANTS_MAX });
    const limited = new Map(
      rows.flatMap(({ name, quota }) =>
        Object.keys(quota).length === 0 ? [] : [[name, quota] as const],
      ),
    );
    return (tenant) => limited.get(tenant);
  },
);

/** By the id of the process. */
export function findOverQuota(snapshot: Snapshot): ReadonlyMap<string, Problem> {
  const { quotaOf } = snapshot;
  const claims = snapshot.subscriptions
    .filter(({ tenant }) => quotaOf(tenant) !== undefined)
    .map((subscription): Claim => {
      const wished = (snapshot.processes.get(subscription.id) ?? []).flatMap((row) => {
        const need = snapshot.needOf(row);
        const counts = row.desired === "running" && !isTerminal(row.state);
        return counts && need !== undefined ? [{ row, limits: need.limits }] : [];
      });
      return {
        tenant: subscription.tenant,
        // What runs a job replaces nothing, and nobody wishes for a number of it.
        count: snapshot.count(subscription) + wished.filter(({ row }) => row.runId !== null).length,
        placed: wished.filter(({ row }) => row.nodeId !== null).map(({ limits }) => limits),
        waiting: wished
          .filter(({ row }) => row.nodeId === null)
          .map(({ row, limits }) => ({ processId: row.id, limits })),
      };
    });
  return claims.length === 0 ? new Map() : planQuotaRefusals(claims, quotaOf);
}

/** How many processes of each subscription are kept back: no room is rented for them. */
export function countOverQuota(snapshot: Snapshot): ReadonlyMap<string, number> {
  const over = findOverQuota(snapshot);
  const counts = new Map<string, number>();
  if (over.size === 0) return counts;
  for (const rows of snapshot.processes.values())
    for (const { id, subscriptionId } of rows)
      if (over.has(id)) counts.set(subscriptionId, (counts.get(subscriptionId) ?? 0) + 1);
  return counts;
}
