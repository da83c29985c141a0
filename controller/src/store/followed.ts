/** What is known for subscriptions that follow a repository. */
import { and, asc, eq, isNull, ne } from "drizzle-orm";

import type { Trial } from "../domain/follow.ts";
import type { Sql } from "./database.ts";
import { rollouts, subscriptions } from "./schema.ts";
import type { SubscriptionRow } from "./subscriptions.ts";

/** Without those that are being deleted. */
export function listFollowers(sql: Sql): readonly SubscriptionRow[] {
  return sql
    .select()
    .from(subscriptions)
    .where(and(ne(subscriptions.follow, "cartridge"), isNull(subscriptions.deletedAt)))
    .orderBy(asc(subscriptions.id))
    .all();
}

/** In the order of their generations; those without a word yet are left out. */
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
