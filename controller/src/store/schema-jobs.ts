/** Tables of what runs to its end, and of what outlives it. */
import type { Exit } from "@strata/protocol/agent/messages";
import type { JobRunState, JobSchedule } from "@strata/protocol/api/jobs";
import {
  index,
  integer,
  primaryKey,
  sqliteTable,
  text,
  uniqueIndex,
} from "drizzle-orm/sqlite-core";

import { stored } from "./columns.ts";
import { nodes, subscriptions } from "./schema.ts";

/** Runs of cartridges that end: once, or by a calendar. */
export const jobs = sqliteTable(
  "jobs",
  {
    id: text().primaryKey(),
    tenant: text().notNull(),
    name: text().notNull(),
    /** The subscription whose generations its processes run; it wishes for no process of its own. */
    subscriptionId: text()
      .notNull()
      .references(() => subscriptions.id, { onDelete: "cascade" }),
    job: text({ mode: "json" }).$type<JobSchedule>().notNull(),
    /** The last time of its calendar that was seen to. */
    scheduledAt: text(),
    ...stored,
  },
  (table) => [uniqueIndex("jobs_tenant_name").on(table.tenant, table.name)],
);

export const jobRuns = sqliteTable(
  "job_runs",
  {
    id: text().primaryKey(),
    jobId: text()
      .notNull()
      .references(() => jobs.id, { onDelete: "cascade" }),
    /** The time of the calendar that it is of; null when somebody asked. */
    scheduledAt: text(),
    state: text().$type<JobRunState>().notNull(),
    /** What it runs, whatever the job says by now. */
    generation: integer().notNull(),
    /** Tries that failed. */
    failures: integer().notNull(),
    /** The next try does not begin before; null while none is due. */
    retryAt: text(),
    startedAt: text().notNull(),
    endedAt: text(),
    exit: text({ mode: "json" }).$type<Exit>(),
    reason: text(),
  },
  (table) => [index("job_runs_job").on(table.jobId, table.startedAt)],
);

/** A folder that outlives processes, on the one node that has it. */
export const volumes = sqliteTable(
  "volumes",
  {
    tenant: text().notNull(),
    name: text().notNull(),
    /** Null until the first process that wants it is placed. */
    nodeId: text().references(() => nodes.id, { onDelete: "set null" }),
    /** Grows with each new holder: an older one must not write any more. */
    fence: integer().notNull(),
    /** The process that may write. */
    holder: text(),
    /** Set by DELETE; the row goes when the node has said that the folder is gone. */
    deletedAt: text(),
    ...stored,
  },
  (table) => [primaryKey({ columns: [table.tenant, table.name] })],
);
