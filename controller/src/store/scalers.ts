import { and, eq, inArray, isNotNull, isNull, sql as raw } from "drizzle-orm";

import { INITIAL_L1_STATE, type L1State } from "../domain/autoscale/l1/model.ts";
import type { SeasonalHistory } from "../domain/autoscale/l1/seasonal.ts";
import type { Sql } from "./database.ts";
import { keepStatements } from "./kept-statements.ts";
import { scalers } from "./schema-autoscale.ts";
import { subscriptions } from "./schema.ts";

/** What a decision needs of a scaler; the season is long and is read when a slot ends. */
export type ScalerRow = {
  readonly state: L1State;
  /** Milliseconds from placement to ready, the newest last. */
  readonly startTimes: readonly number[];
};

export const NEW_SCALER: ScalerRow = { state: INITIAL_L1_STATE, startTimes: [] };

export type Candidate = {
  readonly id: string;
  readonly policyName: string;
  /** Of the last decision; null before the first. */
  readonly decidedAt: string | null;
};

const candidatesStatement = keepStatements((sql) =>
  sql
    .select({
      id: subscriptions.id,
      policyName: subscriptions.scalingPolicy,
      decidedAt: scalers.updatedAt,
    })
    .from(subscriptions)
    .leftJoin(scalers, eq(scalers.subscriptionId, subscriptions.id))
    .where(
      and(
        isNotNull(subscriptions.scalingPolicy),
        isNull(subscriptions.deletedAt),
        isNull(subscriptions.ratio),
      ),
    )
    .prepare(),
);

/** Every live subscription with a scaling policy that may decide: a ratio decides alone. */
export function listScalingCandidates(sql: Sql): readonly Candidate[] {
  const rows = candidatesStatement(sql).all();
  return rows.flatMap(({ policyName, ...row }) =>
    policyName === null ? [] : [{ ...row, policyName }],
  );
}

export function readScalers(
  sql: Sql,
  subscriptionIds: readonly string[],
): ReadonlyMap<string, ScalerRow> {
  const rows = sql
    .select({ id: scalers.subscriptionId, state: scalers.state, startTimes: scalers.startTimes })
    .from(scalers)
    .where(inArray(scalers.subscriptionId, [...subscriptionIds]))
    .all();
  return new Map(rows.map(({ id, ...row }) => [id, row]));
}

const getStatement = keepStatements((sql) =>
  sql
    .select({ state: scalers.state, startTimes: scalers.startTimes })
    .from(scalers)
    .where(eq(scalers.subscriptionId, raw.placeholder("id")))
    .prepare(),
);

/** Undefined before the first decision, and before the first pause. */
export function getScaler(sql: Sql, subscriptionId: string): ScalerRow | undefined {
  return getStatement(sql).get({ id: subscriptionId });
}

/** After a decision at `decidedAt`. */
export function saveScalerState(
  sql: Sql,
  subscriptionId: string,
  { state, decidedAt }: { readonly state: L1State; readonly decidedAt: string },
): void {
  sql
    .insert(scalers)
    .values({ subscriptionId, state, seasonal: {}, startTimes: [], updatedAt: decidedAt })
    .onConflictDoUpdate({ target: scalers.subscriptionId, set: { state, updatedAt: decidedAt } })
    .run();
}

/** Between two decisions: the next is due when it was. */
export function changeScalerState(sql: Sql, subscriptionId: string, state: L1State): void {
  sql
    .insert(scalers)
    .values({ subscriptionId, state, seasonal: {}, startTimes: [], updatedAt: NEVER })
    .onConflictDoUpdate({ target: scalers.subscriptionId, set: { state } })
    .run();
}

/** Long ago enough for anything to be due. */
const NEVER = new Date(0).toISOString();

/** For subscriptions that have a scaler. */
export function saveStartTimes(
  sql: Sql,
  subscriptionId: string,
  startTimes: readonly number[],
): void {
  sql.update(scalers).set({ startTimes }).where(eq(scalers.subscriptionId, subscriptionId)).run();
}

export function readSeasonal(sql: Sql, subscriptionId: string): SeasonalHistory {
  const row = sql
    .select({ seasonal: scalers.seasonal })
    .from(scalers)
    .where(eq(scalers.subscriptionId, subscriptionId))
    .get();
  return row?.seasonal ?? {};
}

export function saveSeasonal(sql: Sql, subscriptionId: string, seasonal: SeasonalHistory): void {
  sql.update(scalers).set({ seasonal }).where(eq(scalers.subscriptionId, subscriptionId)).run();
}
