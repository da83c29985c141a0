import { and, asc, desc, eq, gte, isNotNull, lt, ne, sql as raw } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { decisions } from "./schema-autoscale.ts";

export type DecisionRow = typeof decisions.$inferSelect;
export type NewDecision = Omit<DecisionRow, "id">;

/** One statement carries this many rows: SQLite takes 32,766 values in one. */
const ROWS_PER_STATEMENT = 500;

export function insertDecisions(sql: Sql, rows: readonly NewDecision[]): void {
  for (let from = 0; from < rows.length; from += ROWS_PER_STATEMENT)
    sql
      .insert(decisions)
      .values(rows.slice(from, from + ROWS_PER_STATEMENT))
      .run();
}

export type DecisionPage = {
  /** Only older ones than this id. */
  readonly before?: number | undefined;
  readonly limit: number;
  /** Only those that wished for another count. */
  readonly changes: boolean;
};

/** Newest first. */
export function listDecisions(
  sql: Sql,
  subscriptionId: string,
  { before, limit, changes }: DecisionPage,
): readonly DecisionRow[] {
  return sql
    .select()
    .from(decisions)
    .where(
      and(
        eq(decisions.subscriptionId, subscriptionId),
        before === undefined ? undefined : lt(decisions.id, before),
        changes ? ne(decisions.current, decisions.desired) : undefined,
      ),
    )
    .orderBy(desc(decisions.id))
    .limit(limit)
    .all();
}

/** What can be replayed, oldest first: every decision from the oldest that has its state on. */
export function listReplayable(sql: Sql, subscriptionId: string): readonly DecisionRow[] {
  const start = sql
    .select({ id: raw<number | null>`min(${decisions.id})` })
    .from(decisions)
    .where(and(eq(decisions.subscriptionId, subscriptionId), isNotNull(decisions.state)))
    .get()?.id;
  if (start === undefined || start === null) return [];
  return sql
    .select()
    .from(decisions)
    .where(and(eq(decisions.subscriptionId, subscriptionId), gte(decisions.id, start)))
    .orderBy(asc(decisions.id))
    .all();
}

/** Leaves the newest `all` decisions, and beyond them the newest `changes` of those that wished for another count. */
export function trimDecisions(
  sql: Sql,
  subscriptionId: string,
  kept: { readonly all: number; readonly changes: number },
): void {
  const oldest = nthNewest(sql, subscriptionId, { n: kept.all, changes: false });
  if (oldest === undefined) return;
  const ofSubscription = eq(decisions.subscriptionId, subscriptionId);
  const oldestChange = nthNewest(sql, subscriptionId, { n: kept.changes, changes: true }) ?? 0;
  sql
    .delete(decisions)
    .where(
      and(
        ofSubscription,
        lt(decisions.id, oldest),
        raw`(${decisions.current} = ${decisions.desired} or ${decisions.id} < ${oldestChange})`,
      ),
    )
    .run();
  // What lies between them is gone, so no replay may begin there.
  sql
    .update(decisions)
    .set({ state: null })
    .where(and(ofSubscription, lt(decisions.id, oldest), isNotNull(decisions.state)))
    .run();
}

/** Undefined when there are fewer. */
function nthNewest(
  sql: Sql,
  subscriptionId: string,
  { n, changes }: { readonly n: number; readonly changes: boolean },
): number | undefined {
  return sql
    .select({ id: decisions.id })
    .from(decisions)
    .where(
      and(
        eq(decisions.subscriptionId, subscriptionId),
        changes ? ne(decisions.current, decisions.desired) : undefined,
      ),
    )
    .orderBy(desc(decisions.id))
    .limit(1)
    .offset(Math.max(0, n - 1))
    .get()?.id;
}
