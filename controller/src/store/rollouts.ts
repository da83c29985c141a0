import { and, asc, desc, eq, isNull, lt, ne, sql as raw } from "drizzle-orm";

import type { Trial } from "../domain/follow.ts";
import type { Sql } from "./database.ts";
import { keepStatements, placeholdersOf, updateKey } from "./kept-statements.ts";
import { generations, rollouts } from "./schema.ts";

export type RolloutRow = typeof rollouts.$inferSelect;
export type RolloutKey = Pick<RolloutRow, "subscriptionId" | "generation">;

export function insertRollout(sql: Sql, row: RolloutRow): void {
  sql.insert(rollouts).values(row).run();
}

/** By the names of the columns, as `updateKey` writes them. */
const updateStatement = keepStatements((sql, key) =>
  sql
    .update(rollouts)
    .set(placeholdersOf(key))
    .where(
      and(
        eq(rollouts.subscriptionId, raw.placeholder("itsSubscription")),
        eq(rollouts.generation, raw.placeholder("itsGeneration")),
      ),
    )
    .prepare(),
);

export function updateRollout(sql: Sql, key: RolloutKey, change: Partial<RolloutRow>): void {
  const { subscriptionId, generation } = key;
  updateStatement(sql, updateKey(change)).run({
    ...change,
    itsSubscription: subscriptionId,
    itsGeneration: generation,
  });
}

export function getRollout(sql: Sql, key: RolloutKey): RolloutRow | undefined {
  return sql.select().from(rollouts).where(isOf(key)).get();
}

const openStatement = keepStatements((sql) =>
  sql.select().from(rollouts).where(isNull(rollouts.endedAt)).prepare(),
);

/** Of every subscription the one that something may yet become of, by subscription. */
export function listOpenRollouts(sql: Sql): ReadonlyMap<string, RolloutRow> {
  return new Map(
    openStatement(sql)
      .all()
      .map((row) => [row.subscriptionId, row]),
  );
}

/** Newest first, from the one before `before`. */
export function listRollouts(
  sql: Sql,
  subscriptionId: string,
  { before, limit }: { readonly before: number; readonly limit: number },
): readonly RolloutRow[] {
  return sql
    .select()
    .from(rollouts)
    .where(and(eq(rollouts.subscriptionId, subscriptionId), lt(rollouts.generation, before)))
    .orderBy(desc(rollouts.generation))
    .limit(limit)
    .all();
}

/** The newest generation before this one that came in well, and of which is still known what it runs. */
export function getLastGood(
  sql: Sql,
  { subscriptionId, generation }: RolloutKey,
): number | undefined {
  return sql
    .select({ generation: rollouts.generation })
    .from(rollouts)
    .innerJoin(
      generations,
      and(
        eq(generations.subscriptionId, rollouts.subscriptionId),
        eq(generations.generation, rollouts.generation),
      ),
    )
    .where(
      and(
        eq(rollouts.subscriptionId, subscriptionId),
        eq(rollouts.state, "complete"),
        lt(rollouts.generation, generation),
      ),
    )
    .orderBy(desc(rollouts.generation))
    .limit(1)
    .get()?.generation;
}

/** What a roll-out that stops on its way leaves of the older processes: the last good generation, or else whichever ran
 * before; null for the first. */
export function baseOf(sql: Sql, row: RolloutRow): number | null {
  return getLastGood(sql, row) ?? row.fromGeneration;
}

/** Forgets those before `oldest`, but for `kept`. */
export function trimRollouts(
  sql: Sql,
  subscriptionId: string,
  { oldest, kept }: { readonly oldest: number; readonly kept: number },
): void {
  sql
    .delete(rollouts)
    .where(
      and(
        eq(rollouts.subscriptionId, subscriptionId),
        lt(rollouts.generation, oldest),
        ne(rollouts.generation, kept),
      ),
    )
    .run();
}

function isOf({ subscriptionId, generation }: RolloutKey): ReturnType<typeof and> {
  return and(eq(rollouts.subscriptionId, subscriptionId), eq(rollouts.generation, generation));
}

/** How images came in: in the order of their generations; those without a word yet are left out. */
export function listTrials(sql: Sql, subscriptionId: string): readonly Trial[] {
  return sql
    .select({ digest: rollouts.digest, state: rollouts.state })
    .from(rollouts)
    .where(eq(rollouts.subscriptionId, subscriptionId))
    .orderBy(asc(rollouts.generation))
    .all()
    .flatMap(({ digest, state }): readonly Trial[] => {
      if (state === "complete") return [{ digest, hasFailed: false }];
      return state === "failed" || state === "rolledBack" ? [{ digest, hasFailed: true }] : [];
    });
}
