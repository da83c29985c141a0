import { wishedProcesses } from "../domain/scaling.ts";
import type { Sql } from "../store/database.ts";
import { countReady } from "../store/process-owners.ts";
import { listScalingPolicies, parseScalingPolicy } from "../store/scaling-policies.ts";
import { listSubscriptions } from "../store/subscriptions.ts";

export type SubscriptionCounts = {
  readonly id: string;
  readonly tenant: string;
  readonly alias: string;
  readonly wished: number;
  readonly ready: number;
};

const POLICIES_MAX = 1_000_000;

/** How many processes each subscription shall have, and how many are ready. Those that are being deleted are left out. */
export function readSubscriptionCounts(sql: Sql): readonly SubscriptionCounts[] {
  const policies = new Map(
    listScalingPolicies(sql, { after: "", limit: POLICIES_MAX }).map((policy) => [
      policy.name,
      parseScalingPolicy(policy),
    ]),
  );
  const ready = countReady(sql);
  return listSubscriptions(sql).flatMap(
    ({ id, tenant, alias, processes, scalingPolicy, deletedAt }) =>
      deletedAt === null
        ? [
            {
              id,
              tenant,
              alias,
              wished: wishedProcesses(processes, policies.get(scalingPolicy ?? "")),
              ready: ready.get(id) ?? 0,
            },
          ]
        : [],
  );
}
