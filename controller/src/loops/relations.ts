/** What subscriptions have to do with each other: counts that follow others, and who waits for whom to begin. */
import { type Dependency, findUnready } from "../domain/dependencies.ts";
import type { Problem } from "../domain/process.ts";
import { type NewCount, planRatios } from "../domain/ratio.ts";
import { clampProcesses, wishedProcesses } from "../domain/scaling.ts";
import type { Sql } from "../store/database.ts";
import { keepReading } from "../store/kept-tables.ts";
import type { ProcessRow } from "../store/processes.ts";
import { listBesideRatios, listJustBegun, markBegun, type Related } from "../store/relations.ts";
import { readScalingPolicy } from "../store/scaling-policies.ts";
import {
  listSubscriptions,
  setWishedProcesses,
  type SubscriptionRow,
} from "../store/subscriptions.ts";
import type { Store } from "../store/unit.ts";

/** Writes down the counts that other counts ask for, and who has begun. True when a count changed. */
export function keepRelations(store: Store, nowMs: number): boolean {
  const changes = readNewCounts(store.sql, nowMs);
  const begun = isAnyWaiting(store.sql) ? listJustBegun(store.sql) : [];
  if (changes.length + begun.length === 0) return false;
  store.write((unit) => {
    if (begun.length > 0) markBegun(unit.sql, begun, unit.now);
    for (const { row, change } of changes) {
      setWishedProcesses(unit.sql, row.id, change.to);
      unit.emit({
        type: "subscription.scaled",
        tenant: row.tenant,
        subject: row.alias,
        message: `subscription ${row.alias} goes from ${change.from} to ${change.to} processes, as its ratio to ${row.ratio?.of} has it`,
        data: { from: change.from, to: change.to },
      });
    }
  });
  return changes.length > 0;
}

const readBesideRatios = keepReading(["subscriptions"], listBesideRatios);

/** Whether a subscription has not begun because of others. */
const isAnyWaiting = keepReading(["subscriptions"], (sql) =>
  listSubscriptions(sql).some(
    ({ dependsOn, startedAt }) => dependsOn !== null && startedAt === null,
  ),
);

type Change = { readonly row: Related; readonly change: NewCount };

function readNewCounts(sql: Sql, nowMs: number): readonly Change[] {
  const rows = readBesideRatios(sql);
  const tenants = Map.groupBy(rows, ({ tenant }) => tenant);
  return [...tenants.values()].flatMap((siblings) => {
    const byAlias = new Map(siblings.map((row) => [row.alias, row]));
    const counted = siblings.map((row) => {
      const policy = readScalingPolicy(sql, row.scalingPolicy);
      const bound = (count: number): number =>
        row.ratio === null ? wishedProcesses(count, policy) : clampProcesses(count, policy, nowMs);
      return { ...row, bound };
    });
    return planRatios(counted).flatMap((change): readonly Change[] => {
      const row = byAlias.get(change.alias);
      return row === undefined ? [] : [{ row, change }];
    });
  });
}

type World = {
  readonly subscriptions: readonly SubscriptionRow[];
  /** By subscription. */
  readonly processes: ReadonlyMap<string, readonly ProcessRow[]>;
  readonly count: (subscription: SubscriptionRow) => number;
};

/** Why a process has to wait for other subscriptions. */
export function readDependencyRefusals(
  world: World,
): (process: Pick<ProcessRow, "subscriptionId">) => Problem | undefined {
  const waiting = world.subscriptions.filter(
    ({ dependsOn, startedAt }) => startedAt === null && (dependsOn?.length ?? 0) > 0,
  );
  if (waiting.length === 0) return () => undefined;
  const byKey = new Map(world.subscriptions.map((row) => [keyOf(row.tenant, row.alias), row]));
  const refusals = new Map(
    waiting.map(({ id, tenant, dependsOn }) => [
      id,
      findUnready(
        (dependsOn ?? []).map((alias) => ({
          alias,
          seen: seenOf(world, byKey.get(keyOf(tenant, alias))),
        })),
      ),
    ]),
  );
  return ({ subscriptionId }) => refusals.get(subscriptionId);
}

function seenOf(
  { processes, count }: World,
  subscription: SubscriptionRow | undefined,
): Dependency["seen"] {
  if (subscription === undefined || subscription.deletedAt !== null) return undefined;
  const ready = (processes.get(subscription.id) ?? []).filter(
    (row) =>
      row.ready &&
      row.state === "running" &&
      row.desired === "running" &&
      row.drainDeadline === null,
  ).length;
  return { wished: count(subscription), ready };
}

function keyOf(tenant: string, alias: string): string {
  return `${tenant}/${alias}`;
}
