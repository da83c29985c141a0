import {
  and,
  asc,
  eq,
  gt,
  gte,
  inArray,
  isNull,
  lt,
  ne,
  notExists,
  notInArray,
  sql as raw,
} from "drizzle-orm";

import type { Sql } from "./database.ts";
import { keepStatements } from "./kept-statements.ts";
import type { Page } from "./page.ts";
import type { GenerationRow } from "./processes.ts";
import { jobs } from "./schema-jobs.ts";
import { generations, processes, subscriptions } from "./schema.ts";

export type SubscriptionRow = typeof subscriptions.$inferSelect;

export function getSubscription(
  sql: Sql,
  { tenant, alias }: { readonly tenant: string; readonly alias: string },
): SubscriptionRow | undefined {
  return sql
    .select()
    .from(subscriptions)
    .where(and(eq(subscriptions.tenant, tenant), eq(subscriptions.alias, alias)))
    .get();
}

/** Those that there are of these. */
export function getSubscriptions(sql: Sql, ids: readonly string[]): readonly SubscriptionRow[] {
  return ids.flatMap((id) => byIdStatement(sql).get({ id }) ?? []);
}

const byIdStatement = keepStatements((sql) =>
  sql
    .select()
    .from(subscriptions)
    .where(eq(subscriptions.id, raw.placeholder("id")))
    .prepare(),
);

/** Every subscription, the deleted ones that still have processes included. */
export function listSubscriptions(sql: Sql): readonly SubscriptionRow[] {
  const kept = sql.kept?.read();
  if (kept !== undefined) return kept.subscriptions.all();
  return sql.select().from(subscriptions).orderBy(asc(subscriptions.id)).all();
}

export function listSubscriptionsOfTenant(
  sql: Sql,
  tenant: string,
  { after, limit }: Page,
): readonly SubscriptionRow[] {
  return sql
    .select()
    .from(subscriptions)
    .where(
      and(
        eq(subscriptions.tenant, tenant),
        gt(subscriptions.alias, after),
        // What jobs run is shown with them.
        notExists(
          sql
            .select({ one: raw`1` })
            .from(jobs)
            .where(eq(jobs.subscriptionId, subscriptions.id)),
        ),
      ),
    )
    .orderBy(asc(subscriptions.alias))
    .limit(limit)
    .all();
}

export function listSubscriptionsWhere(
  sql: Sql,
  where:
    | { readonly cartridge: string }
    | { readonly partition: string }
    | { readonly scalingPolicy: string },
): readonly SubscriptionRow[] {
  const condition =
    "cartridge" in where
      ? eq(subscriptions.cartridge, where.cartridge)
      : "partition" in where
        ? eq(subscriptions.partition, where.partition)
        : eq(subscriptions.scalingPolicy, where.scalingPolicy);
  return sql.select().from(subscriptions).where(condition).orderBy(asc(subscriptions.id)).all();
}

/** Those that follow what is pushed, without those that are being deleted. */
export function listFollowers(sql: Sql): readonly SubscriptionRow[] {
  return sql
    .select()
    .from(subscriptions)
    .where(and(ne(subscriptions.follow, "cartridge"), isNull(subscriptions.deletedAt)))
    .orderBy(asc(subscriptions.id))
    .all();
}

export function saveSubscription(sql: Sql, row: SubscriptionRow): void {
  sql
    .insert(subscriptions)
    .values(row)
    .onConflictDoUpdate({ target: subscriptions.id, set: row })
    .run();
}

/** What level 1 looks at. */
export type ScaledSubscription = Pick<
  SubscriptionRow,
  "id" | "tenant" | "alias" | "processes" | "generation"
>;

export function listScaledSubscriptions(
  sql: Sql,
  ids: readonly string[],
): readonly ScaledSubscription[] {
  return sql
    .select({
      id: subscriptions.id,
      tenant: subscriptions.tenant,
      alias: subscriptions.alias,
      processes: subscriptions.processes,
      generation: subscriptions.generation,
    })
    .from(subscriptions)
    .where(inArray(subscriptions.id, [...ids]))
    .all();
}

/** A count that no person asked for: the revision stays, so that nobody's change of something else is refused. */
export function setWishedProcesses(sql: Sql, id: string, count: number): void {
  sql.update(subscriptions).set({ processes: count }).where(eq(subscriptions.id, id)).run();
}

/** Its generations go with it. */
export function deleteSubscription(sql: Sql, id: string): void {
  sql.delete(subscriptions).where(eq(subscriptions.id, id)).run();
}

export function getGeneration(
  sql: Sql,
  key: { readonly subscriptionId: string; readonly generation: number },
): GenerationRow | undefined {
  return sql
    .select()
    .from(generations)
    .where(
      and(
        eq(generations.subscriptionId, key.subscriptionId),
        eq(generations.generation, key.generation),
      ),
    )
    .get();
}

/** In order, from `oldest` on. */
export function listGenerationsFrom(
  sql: Sql,
  subscriptionId: string,
  oldest: number,
): readonly GenerationRow[] {
  return sql
    .select()
    .from(generations)
    .where(and(eq(generations.subscriptionId, subscriptionId), gte(generations.generation, oldest)))
    .orderBy(asc(generations.generation))
    .all();
}

/** Of every generation that is kept: what runs, what is wished for, and what a roll-back may bring back. */
export function listKeptImages(sql: Sql): readonly GenerationRow["spec"]["image"][] {
  const rows = sql
    .selectDistinct({ image: raw<string>`json_extract(${generations.spec}, '$.image')` })
    .from(generations)
    .all();
  return rows.map(({ image }) => parseImage(image));
}

function parseImage(text: string): GenerationRow["spec"]["image"] {
  return JSON.parse(text) as GenerationRow["spec"]["image"];
}

/** What every subscription wishes for now. */
export function listNewestGenerations(sql: Sql): readonly GenerationRow[] {
  return sql
    .select({ generation: generations })
    .from(generations)
    .innerJoin(
      subscriptions,
      and(
        eq(subscriptions.id, generations.subscriptionId),
        eq(subscriptions.generation, generations.generation),
      ),
    )
    .all()
    .map(({ generation }) => generation);
}

export function insertGeneration(sql: Sql, row: GenerationRow): void {
  sql.insert(generations).values(row).run();
}

/** Forgets generations before `oldest` that no process runs any more, but for `kept`. */
export function trimGenerations(
  sql: Sql,
  subscriptionId: string,
  { oldest, kept }: { readonly oldest: number; readonly kept: readonly number[] },
): void {
  sql
    .delete(generations)
    .where(
      and(
        eq(generations.subscriptionId, subscriptionId),
        lt(generations.generation, oldest),
        notInArray(generations.generation, [...kept]),
        notExists(
          sql
            .select({ one: raw`1` })
            .from(processes)
            .where(
              and(
                eq(processes.subscriptionId, generations.subscriptionId),
                eq(processes.generation, generations.generation),
              ),
            ),
        ),
      ),
    )
    .run();
}
