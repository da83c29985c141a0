import { and, asc, desc, eq, gt, isNull, lte, or, sql as raw } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { keepStatements } from "./kept-statements.ts";
import { events } from "./schema.ts";

export type EventRow = typeof events.$inferSelect;
export type NewEvent = {
  /** `process.running`, `node.away`: kind of thing, dot, what happened. */
  readonly type: string;
  /** Whose it is; left out, it concerns the installation. */
  readonly tenant?: string;
  readonly subject: string;
  readonly message: string;
  readonly data?: Readonly<Record<string, unknown>>;
};

export type EventFilter = {
  /** Only this tenant's events and those of no tenant; undefined shows all. */
  readonly tenant: string | undefined;
  /** `process` or `process.running`. */
  readonly type?: string | undefined;
  readonly subject?: string | undefined;
};

/** Deleting a few at a time keeps each write short. */
const TRIM_EVERY = 256;

const insertStatement = keepStatements((sql) =>
  sql
    .insert(events)
    .values({
      at: raw.placeholder("at"),
      type: raw.placeholder("type"),
      tenant: raw.placeholder("tenant"),
      subject: raw.placeholder("subject"),
      message: raw.placeholder("message"),
      data: raw.placeholder("data"),
    })
    .prepare(),
);

export function insertEvent(
  sql: Sql,
  event: NewEvent & { readonly at: string },
  eventsMax: number,
): void {
  const { lastInsertRowid } = insertStatement(sql).run({
    ...event,
    tenant: event.tenant ?? null,
    data: event.data ?? {},
  });
  const id = Number(lastInsertRowid);
  if (id % TRIM_EVERY === 0)
    sql
      .delete(events)
      .where(lte(events.id, id - eventsMax))
      .run();
}

/** Oldest first, from the one after `afterId`. */
export function listEventsAfter(
  sql: Sql,
  afterId: number,
  { filter, limit }: { readonly filter: EventFilter; readonly limit: number },
): readonly EventRow[] {
  return sql
    .select()
    .from(events)
    .where(and(gt(events.id, afterId), matches(filter)))
    .orderBy(asc(events.id))
    .limit(limit)
    .all();
}

/** The last `limit` events, oldest first. */
export function listLatestEvents(
  sql: Sql,
  { filter, limit }: { readonly filter: EventFilter; readonly limit: number },
): readonly EventRow[] {
  return sql
    .select()
    .from(events)
    .where(matches(filter))
    .orderBy(desc(events.id))
    .limit(limit)
    .all()
    .toReversed();
}

/** Id of the newest event, 0 when there is none. */
export function latestEventId(sql: Sql): number {
  return (
    sql
      .select({ id: raw<number>`coalesce(max(${events.id}), 0)` })
      .from(events)
      .get()?.id ?? 0
  );
}

function matches({ tenant, type, subject }: EventFilter): ReturnType<typeof and> {
  return and(
    tenant === undefined ? undefined : or(eq(events.tenant, tenant), isNull(events.tenant)),
    type === undefined
      ? undefined
      : // A prefix up to a dot, without LIKE and so without its wildcards.
        or(
          eq(events.type, type),
          eq(raw`substr(${events.type}, 1, ${type.length + 1})`, `${type}.`),
        ),
    subject === undefined ? undefined : eq(events.subject, subject),
  );
}
