/** The numbers by which subscriptions have their addresses. */
import { and, asc, eq, isNull, notLike } from "drizzle-orm";

import { nextServiceNumber } from "../domain/network/service-address.ts";
import type { Sql } from "./database.ts";
import { getMeta, setMeta } from "./meta.ts";
import { subscriptions } from "./schema.ts";

/** A free one; what was given back comes again last. Undefined when all are taken. */
export function takeServiceNumber(sql: Sql): number | undefined {
  const last = Number(getMeta(sql, "serviceNumber") ?? "0");
  const number = nextServiceNumber(last, (candidate) => {
    const where = eq(subscriptions.serviceNumber, candidate);
    return (
      sql.select({ id: subscriptions.id }).from(subscriptions).where(where).get() !== undefined
    );
  });
  if (number !== undefined) setMeta(sql, "serviceNumber", String(number));
  return number;
}

/** Those of an older controller have none. */
export function listUnnumbered(sql: Sql): readonly string[] {
  return (
    sql
      .select({ id: subscriptions.id })
      .from(subscriptions)
      // What a job runs is nobody's to ask.
      .where(and(isNull(subscriptions.serviceNumber), notLike(subscriptions.alias, "job:%")))
      .orderBy(asc(subscriptions.createdAt), asc(subscriptions.id))
      .all()
      .map(({ id }) => id)
  );
}

export function setServiceNumber(sql: Sql, id: string, serviceNumber: number): void {
  sql.update(subscriptions).set({ serviceNumber }).where(eq(subscriptions.id, id)).run();
}
