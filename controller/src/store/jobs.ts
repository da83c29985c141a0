import {
  and,
  asc,
  count,
  desc,
  eq,
  gt,
  inArray,
  isNotNull,
  isNull,
  lt,
  ne,
  or,
  type SQL,
} from "drizzle-orm";

import type { Sql } from "./database.ts";
import type { Page } from "./page.ts";
import type { ProcessRow } from "./processes.ts";
import { jobRuns, jobs } from "./schema-jobs.ts";
import { processes, subscriptions } from "./schema.ts";
import type { SubscriptionRow } from "./subscriptions.ts";

export type JobRow = typeof jobs.$inferSelect;
export type JobRunRow = typeof jobRuns.$inferSelect;
/** A job and the subscription that holds what it runs. */
export type StoredJob = { readonly job: JobRow; readonly subscription: SubscriptionRow };

type JobKey = { readonly tenant: string; readonly name: string };

export function getJob(sql: Sql, { tenant, name }: JobKey): StoredJob | undefined {
  return readJobs(sql, and(eq(jobs.tenant, tenant), eq(jobs.name, name)), 1)[0];
}

export function listJobsOfTenant(
  sql: Sql,
  tenant: string,
  { after, limit }: Page,
): readonly StoredJob[] {
  const where = and(eq(jobs.tenant, tenant), gt(jobs.name, after), isNull(subscriptions.deletedAt));
  return readJobs(sql, where, limit);
}

/** Those that are being deleted included. */
export function listJobs(sql: Sql): readonly StoredJob[] {
  return readJobs(sql, undefined, NO_LIMIT);
}

export function saveJob(sql: Sql, row: JobRow): void {
  sql.insert(jobs).values(row).onConflictDoUpdate({ target: jobs.id, set: row }).run();
}

/** The subscription of a job: a subscription in all but its wishes. Returns it as it is stored. */
export function saveJobSubscription(
  sql: Sql,
  row: typeof subscriptions.$inferInsert,
): SubscriptionRow {
  return sql
    .insert(subscriptions)
    .values(row)
    .onConflictDoUpdate({ target: subscriptions.id, set: row })
    .returning()
    .get();
}

export function markJobSeen(sql: Sql, id: string, scheduledAt: string): void {
  sql.update(jobs).set({ scheduledAt }).where(eq(jobs.id, id)).run();
}

export function insertRun(sql: Sql, row: JobRunRow): void {
  sql.insert(jobRuns).values(row).run();
}

export function updateRun(sql: Sql, id: string, change: Partial<JobRunRow>): void {
  sql.update(jobRuns).set(change).where(eq(jobRuns.id, id)).run();
}

export function getRun(sql: Sql, id: string): JobRunRow | undefined {
  return sql.select().from(jobRuns).where(eq(jobRuns.id, id)).get();
}

/** Of all jobs: those that go on. */
export function listActiveRuns(sql: Sql): readonly JobRunRow[] {
  return sql
    .select()
    .from(jobRuns)
    .where(eq(jobRuns.state, "running"))
    .orderBy(asc(jobRuns.startedAt), asc(jobRuns.id))
    .all();
}

export function countActiveRuns(sql: Sql, jobId: string): number {
  const where = and(eq(jobRuns.jobId, jobId), eq(jobRuns.state, "running"));
  return sql.select({ n: count() }).from(jobRuns).where(where).get()?.n ?? 0;
}

/** The newest first, from the one after `before` in that order. */
export function listRuns(
  sql: Sql,
  jobId: string,
  { before, limit }: { readonly before: JobRunRow | undefined; readonly limit: number },
): readonly JobRunRow[] {
  return sql
    .select()
    .from(jobRuns)
    .where(
      and(
        eq(jobRuns.jobId, jobId),
        before === undefined
          ? undefined
          : or(
              lt(jobRuns.startedAt, before.startedAt),
              and(eq(jobRuns.startedAt, before.startedAt), lt(jobRuns.id, before.id)),
            ),
      ),
    )
    .orderBy(desc(jobRuns.startedAt), desc(jobRuns.id))
    .limit(limit)
    .all();
}

/** Forgets ended runs but for the newest `keep`. */
export function trimRuns(sql: Sql, jobId: string, keep: number): void {
  const old = sql
    .select({ id: jobRuns.id })
    .from(jobRuns)
    .where(and(eq(jobRuns.jobId, jobId), ne(jobRuns.state, "running")))
    .orderBy(desc(jobRuns.startedAt), desc(jobRuns.id))
    .limit(TRIMMED_MAX)
    .offset(keep)
    .all()
    .map(({ id }) => id);
  if (old.length > 0) sql.delete(jobRuns).where(inArray(jobRuns.id, old)).run();
}

/** The rest goes with the next end of a run. */
const TRIMMED_MAX = 500;

/** Processes of all runs, and of runs that are no more. */
export function listRunProcesses(sql: Sql): readonly ProcessRow[] {
  return sql
    .select()
    .from(processes)
    .where(isNotNull(processes.runId))
    .orderBy(asc(processes.createdAt), asc(processes.id))
    .all();
}

export function listProcessesOfRun(sql: Sql, run: Pick<JobRunRow, "id">): readonly ProcessRow[] {
  return sql
    .select()
    .from(processes)
    .where(eq(processes.runId, run.id))
    .orderBy(asc(processes.attempt), asc(processes.id))
    .all();
}

/** Of these, the ones that are still remembered. */
export function listKnownRuns(sql: Sql, ids: readonly string[]): ReadonlySet<string> {
  const rows = sql
    .select({ id: jobRuns.id })
    .from(jobRuns)
    .where(inArray(jobRuns.id, [...ids]))
    .all();
  return new Set(rows.map(({ id }) => id));
}

/** What SQLite takes for "all of them". */
const NO_LIMIT = -1;

function readJobs(sql: Sql, where: SQL | undefined, limit: number): readonly StoredJob[] {
  return sql
    .select({ job: jobs, subscription: subscriptions })
    .from(jobs)
    .innerJoin(subscriptions, eq(subscriptions.id, jobs.subscriptionId))
    .where(where)
    .orderBy(asc(jobs.name), asc(jobs.id))
    .limit(limit)
    .all();
}
