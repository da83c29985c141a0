/** From the rows of jobs to what the API shows of them. */
import type { Job, JobRun } from "@strata/protocol/api/jobs";

import { parseCalendar } from "../domain/cron.ts";
import {
  countActiveRuns,
  type JobRunRow,
  listProcessesOfRun,
  listRuns,
  type StoredJob,
} from "../store/jobs.ts";
import { getNode } from "../store/nodes.ts";
import type { Services } from "./services.ts";
import { showRunning } from "./views.ts";

type Reading = Pick<Services, "store" | "clock">;

export function readJob(services: Reading, { job: row, subscription }: StoredJob): Job {
  const { sql } = services.store;
  const { name, tenant, revision, createdAt, updatedAt, job } = row;
  const { cartridge, partition, lostAfterMs, placement, generation, running } = subscription;
  const [last] = listRuns(sql, row.id, { before: undefined, limit: 1 });
  return {
    name,
    tenant,
    cartridge,
    partition,
    lostAfter: lostAfterMs / 1000,
    placement,
    ...showRunning(running),
    cron: job.cron ?? null,
    timezone: job.timezone,
    concurrency: job.concurrency,
    retries: job.retries,
    timeout: job.timeout === undefined ? null : job.timeout / 1000,
    startWithin: job.startWithin / 1000,
    suspended: job.suspended,
    keepRuns: job.keepRuns,
    generation,
    revision,
    createdAt,
    updatedAt,
    status: {
      running: countActiveRuns(sql, row.id),
      nextRunAt: nextRunAt(services, { job: row, subscription }),
      lastRun: last === undefined ? null : showRun(name, last),
    },
  };
}

export function readRun({ store }: Reading, job: string, run: JobRunRow): JobRun {
  const { sql } = store;
  return {
    ...showRun(job, run),
    reason: run.reason ?? waitingReason(sql, run),
    processes: listProcessesOfRun(sql, run).map(({ id, state, nodeId, lastExit }) => ({
      id,
      state,
      node: nodeId === null ? null : (getNode(sql, nodeId)?.name ?? null),
      exit: lastExit,
    })),
  };
}

function showRun(job: string, run: JobRunRow): Omit<JobRun, "processes"> {
  const { id, scheduledAt, state, failures, startedAt, endedAt, exit, reason } = run;
  return { id, job, scheduledAt, state, failures, startedAt, endedAt, exit, reason };
}

function waitingReason(sql: Reading["store"]["sql"], run: JobRunRow): string | null {
  if (run.state !== "running") return null;
  return listProcessesOfRun(sql, run).at(-1)?.problem?.message ?? null;
}

function nextRunAt({ clock }: Reading, { job: row, subscription }: StoredJob): string | null {
  const { cron, timezone, suspended } = row.job;
  if (cron === undefined || suspended || subscription.deletedAt !== null) return null;
  const next = parseCalendar({ cron, timezone }).next(clock.nowMs());
  return next === undefined ? null : new Date(next).toISOString();
}
