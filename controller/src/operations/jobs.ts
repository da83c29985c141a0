import type { Scope } from "@strata/protocol/access";
import type { JobInput, JobSchedule } from "@strata/protocol/api/jobs";
import type { z } from "zod";

import { findCalendarFault } from "../domain/cron.ts";
import { jobAlias } from "../domain/jobs.ts";
import { ControllerError } from "../errors.ts";
import {
  getJob,
  type JobRow,
  saveJob,
  saveJobSubscription,
  type StoredJob,
} from "../store/jobs.ts";
import { saveSubscription, type SubscriptionRow } from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import { requireHostPathsAllowed } from "./host-paths.ts";
import { cancelRuns } from "./job-runs.ts";
import { requireCartridge } from "./references.ts";
import { toRunning } from "./running-input.ts";
import { advance } from "./subscription-spec.ts";
import {
  type Outcome,
  type Precondition,
  requireFound,
  requirePrecondition,
  type Stored,
  upsert,
} from "./upsert.ts";

type Input = z.output<typeof JobInput>;
export type JobKey = { readonly tenant: string; readonly name: string };
export type PutJob = JobKey & {
  readonly input: Input;
  /** Of whoever asks. */
  readonly scope: Scope;
  readonly precondition?: Precondition;
};

/** What a PUT decides about, of both rows that a job is stored in. */
type Fields = Pick<
  SubscriptionRow,
  "cartridge" | "partition" | "ownPartition" | "lostAfterMs" | "running" | "placement"
> &
  Pick<JobRow, "job">;
type Current = Fields & Stored;

/** @throws ControllerError INVALID, REFERENCE_UNKNOWN, LIMITS_UNSATISFIABLE, FORBIDDEN */
export function putJob(unit: Unit, put: PutJob): Outcome<StoredJob> {
  const { tenant, name, input } = put;
  const schedule = toSchedule(input);
  requireCalendar(schedule, unit.nowMs);
  const { cartridge, partition } = requireCartridge(unit, { ...input, tenant });
  const running = toRunning(input);
  requireHostPathsAllowed(put.scope, { ...cartridge.running, ...running });
  const stored = getJob(unit.sql, put);
  const current = stored?.subscription.deletedAt === null ? stored : undefined;
  const outcome = upsert<Fields, Current>(unit, {
    kind: "job",
    name,
    tenant,
    current: current === undefined ? undefined : toCurrent(current),
    fields: {
      cartridge: input.cartridge,
      partition,
      ownPartition: input.partition ?? null,
      lostAfterMs: input.lostAfter,
      running,
      placement: input.placement ?? null,
      job: schedule,
    },
    precondition: put.precondition,
    toRow: (fields, times) => ({ ...fields, ...times }),
    save: (row) => save(unit, { put, stored, row }),
  });
  const row = requireJob(unit, put);
  if (outcome.action === "unchanged") return { ...outcome, row };
  const subscription = advance(unit, {
    row: row.subscription,
    before: current?.subscription,
    cartridge,
  });
  return { ...outcome, row: { job: row.job, subscription } };
}

/** Its runs are cancelled; it is gone when the last of their processes is. Idempotent. */
export function removeJob(
  unit: Unit,
  { precondition, ...key }: JobKey & { precondition?: Precondition },
): StoredJob {
  const stored = requireFound(getJob(unit.sql, key), { kind: "job", name: key.name });
  const { job, subscription } = stored;
  requirePrecondition(precondition, job, `job ${key.name}`);
  if (subscription.deletedAt !== null) return stored;
  cancelRuns(unit, stored, "the job is being deleted");
  const next = { ...subscription, deletedAt: unit.now, processes: 0 };
  saveSubscription(unit.sql, next);
  unit.emit({
    type: "job.deleting",
    tenant: key.tenant,
    subject: key.name,
    message: `job ${key.name} is being deleted`,
  });
  return { job, subscription: next };
}

/** @throws ControllerError NOT_FOUND, also while it is being deleted. */
export function requireJob(unit: Pick<Unit, "sql">, key: JobKey): StoredJob {
  const found = getJob(unit.sql, key);
  const live = found?.subscription.deletedAt === null ? found : undefined;
  return requireFound(live, { kind: "job", name: key.name });
}

function toSchedule(input: Input): JobSchedule {
  const { cron, timezone, concurrency, retries, timeout, startWithin, suspended, keepRuns } = input;
  return {
    ...(cron === undefined ? {} : { cron }),
    timezone,
    concurrency,
    retries,
    ...(timeout === undefined ? {} : { timeout }),
    startWithin,
    suspended,
    keepRuns,
  };
}

function requireCalendar({ cron = "* * * * *", timezone }: JobSchedule, nowMs: number): void {
  const fault = findCalendarFault({ cron, timezone }, nowMs);
  if (fault === undefined) return;
  throw new ControllerError("INVALID", `cron ${JSON.stringify(cron)} in ${timezone}: ${fault}`, {
    hint: 'write five fields, such as "30 2 * * *", and a time zone such as Europe/Berlin',
  });
}

function toCurrent({ job: row, subscription }: StoredJob): Current {
  const { cartridge, partition, ownPartition, lostAfterMs, running, placement } = subscription;
  const { job, revision, createdAt, updatedAt } = row;
  return {
    cartridge,
    partition,
    ownPartition,
    lostAfterMs,
    running,
    placement,
    job,
    revision,
    createdAt,
    updatedAt,
  };
}

type Saving = {
  readonly put: PutJob;
  /** Perhaps being deleted: it comes back then. */
  readonly stored: StoredJob | undefined;
  readonly row: Current;
};

function save(unit: Unit, { put: { tenant, name }, stored, row }: Saving): void {
  const { job, revision: _revision, createdAt, updatedAt, ...fields } = row;
  const subscriptionId = stored?.subscription.id ?? unit.newId();
  const revision = (stored?.job.revision ?? 0) + 1;
  const times = { revision, createdAt, updatedAt };
  saveJobSubscription(unit.sql, {
    id: subscriptionId,
    tenant,
    alias: jobAlias(name),
    ...fields,
    ...times,
    processes: stored?.subscription.processes ?? 0,
    generation: stored?.subscription.generation ?? 0,
    deletedAt: null,
  });
  const before = stored?.job;
  const keepsCalendar =
    before !== undefined &&
    stored?.subscription.deletedAt === null &&
    before.job.cron === job.cron &&
    before.job.timezone === job.timezone &&
    before.job.suspended === job.suspended;
  saveJob(unit.sql, {
    id: before?.id ?? unit.newId(),
    tenant,
    name,
    subscriptionId,
    job,
    // What was due before there was this calendar is not made up for.
    scheduledAt: keepsCalendar ? before.scheduledAt : unit.now,
    ...times,
  });
}
