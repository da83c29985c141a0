import { and, eq, inArray, notInArray } from "drizzle-orm";

import type { Reading } from "../domain/autoscale/l1/model.ts";
import type { Sql } from "./database.ts";
import { readings } from "./schema-autoscale.ts";

/** The newest value of each custom metric, by subscription. */
export function listReadings(
  sql: Sql,
  subscriptionIds: readonly string[],
): ReadonlyMap<string, readonly Reading[]> {
  const rows = sql
    .select()
    .from(readings)
    .where(inArray(readings.subscriptionId, [...subscriptionIds]))
    .all();
  const grouped = Map.groupBy(rows, ({ subscriptionId }) => subscriptionId);
  return new Map(
    [...grouped].map(([id, list]) => [
      id,
      list.map(({ metric, value, at }) => ({ metric, value, at })),
    ]),
  );
}

/** Takes the place of an older one of the same metric. */
export function saveReading(
  sql: Sql,
  subscriptionId: string,
  { metric, value, at }: Reading,
): void {
  sql
    .insert(readings)
    .values({ subscriptionId, metric, value, at })
    .onConflictDoUpdate({ target: [readings.subscriptionId, readings.metric], set: { value, at } })
    .run();
}

/** Forgets the metrics that nobody asks for any more. */
export function keepReadings(sql: Sql, subscriptionId: string, metrics: readonly string[]): void {
  sql
    .delete(readings)
    .where(
      and(eq(readings.subscriptionId, subscriptionId), notInArray(readings.metric, [...metrics])),
    )
    .run();
}
