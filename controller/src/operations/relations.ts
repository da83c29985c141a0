/** What a subscription may say of others of its tenant. */
import type { ScalingPolicy } from "@strata/protocol/api/autoscale";
import type { Ratio } from "@strata/protocol/api/rollouts";

import { findCycle } from "../domain/dependencies.ts";
import { countByRatio } from "../domain/ratio.ts";
import { isAutoscaled } from "../domain/scaling.ts";
import { ControllerError } from "../errors.ts";
import { listNaming } from "../store/relations.ts";
import { listRoutesTo } from "../store/routes.ts";
import { getSubscription, type SubscriptionRow } from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import { refuseInUse, requireReference } from "./upsert.ts";

/** The row is stored already, so that what it says is part of the picture.
 * @throws ControllerError REFERENCE_UNKNOWN, RELATION_CYCLE */
export function requireRelations(
  unit: Unit,
  row: Pick<SubscriptionRow, "tenant" | "alias" | "dependsOn" | "ratio">,
): void {
  const { tenant, alias, dependsOn, ratio } = row;
  const named = [...(dependsOn ?? []), ...(ratio === null ? [] : [ratio.of])];
  if (named.length === 0) return;
  for (const name of named) {
    const found = getSubscription(unit.sql, { tenant, alias: name });
    requireReference(found?.deletedAt === null, { kind: "subscription", name });
  }
  const others = new Map(listNaming(unit.sql, tenant).map((one) => [one.alias, one]));
  refuseCycle(
    "dependsOn",
    findCycle(alias, (name) => others.get(name)?.dependsOn ?? []),
  );
  refuseCycle(
    "ratio",
    findCycle(alias, (name) => {
      const of = others.get(name)?.ratio?.of;
      return of === undefined ? [] : [of];
    }),
  );
}

function refuseCycle(field: string, cycle: readonly string[] | undefined): void {
  if (cycle === undefined) return;
  throw new ControllerError("RELATION_CYCLE", `${field} goes in a circle: ${cycle.join(" > ")}`, {
    hint: `leave one of them out of ${field}`,
  });
}

/** @throws ControllerError IN_USE where another one waits for it, takes its count from it, or a route leads to it. */
export function requireUnnamed(
  unit: Unit,
  { tenant, alias }: Pick<SubscriptionRow, "tenant" | "alias">,
): void {
  const users = listNaming(unit.sql, tenant).filter(
    ({ dependsOn, ratio }) => dependsOn?.includes(alias) === true || ratio?.of === alias,
  );
  const routes = listRoutesTo(unit.sql, { tenant, alias });
  refuseInUse(`subscription ${alias}`, [
    ...users.map((user) => `subscription ${user.alias}`),
    ...routes.map(({ name }) => `route ${name}`),
  ]);
}

/** @throws ControllerError RATIO_DECIDES where a count is asked for all the same, or a policy would decide, too. */
export function requireFreeCount(
  { alias, ratio }: { readonly alias: string; readonly ratio: Ratio | null },
  asked: number | undefined,
  policy: (ScalingPolicy & { readonly name: string }) | undefined,
): void {
  if (ratio === null) return;
  if (asked !== undefined)
    throw new ControllerError(
      "RATIO_DECIDES",
      `${alias} has ${ratio.processes} processes for each ${ratio.per} of ${ratio.of}`,
      { hint: `scale ${ratio.of}, or PUT ${alias} without "ratio"` },
    );
  if (policy !== undefined && isAutoscaled(policy))
    throw new ControllerError(
      "RATIO_DECIDES",
      `scaling policy ${policy.name} decides by metrics or times, and so would the ratio to ${ratio.of}`,
      { hint: "name a policy with min and max alone, or leave the ratio out" },
    );
}

/** The count that a new subscription begins with. */
export function firstCount(unit: Unit, tenant: string, ratio: Ratio | null): number {
  if (ratio === null) return 1;
  const other = getSubscription(unit.sql, { tenant, alias: ratio.of });
  return other === undefined ? 1 : countByRatio(ratio, other.processes);
}
