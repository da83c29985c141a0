/** Holds what a tenant wishes for against its quota, at the moment of the wish. */
import { findBreach, NO_USE, type Use, withProcesses } from "../domain/quota.ts";
import { wishedProcesses } from "../domain/scaling.ts";
import { ControllerError } from "../errors.ts";
import { readScalingPolicy } from "../store/scaling-policies.ts";
import { getTenant, listWishes } from "../store/tenants.ts";
import type { Unit } from "../store/unit.ts";
import { requireTenant } from "./tenants.ts";

/** What the wishes of the tenant's subscriptions add up to now, scaled ones with their count of the moment. */
export function readUse({ sql }: Pick<Unit, "sql">, tenant: string): Use {
  return listWishes(sql, tenant).reduce(
    (use, { processes, scalingPolicy, limits }) =>
      withProcesses(use, limits, wishedProcesses(processes, readScalingPolicy(sql, scalingPolicy))),
    NO_USE,
  );
}

/** Does work for a tenant that exists, and takes it back where it makes the tenant wish for more than it may have. Work
 * of several wishes is looked at when all of it is done, so that one may grow by what another gives up.
 * @throws ControllerError REFERENCE_UNKNOWN, QUOTA_EXCEEDED */
export function withinQuota<Result>(unit: Unit, tenant: string, work: () => Result): Result {
  requireTenant(unit, tenant);
  const quota = getTenant(unit.sql, tenant)?.quota;
  if (quota === undefined || Object.keys(quota).length === 0) return work();
  const before = readUse(unit, tenant);
  const result = work();
  const breach = findBreach(quota, { before, after: readUse(unit, tenant) });
  if (breach === undefined) return result;
  throw new ControllerError(
    "QUOTA_EXCEEDED",
    `tenant ${tenant} would have ${breach} that its quota allows`,
    {
      hint: `ask for less, delete something, or have an admin raise the quota: PUT /v1/tenants/${tenant}`,
    },
  );
}
