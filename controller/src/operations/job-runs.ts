/** Runs of jobs: begun, tried again, ended. What is due is for the loop to say. */
import type { Exit } from "@strata/protocol/agent/messages";
import { isTerminal } from "@strata/protocol/agent/process-state";
import type { JobRunState } from "@strata/protocol/api/jobs";

import { RUNS_AT_ONCE_MAX } from "../domain/jobs.ts";
import { ControllerError } from "../errors.ts";
import {
  countActiveRuns,
  insertRun,
  type JobRunRow,
  listActiveRuns,
  listProcessesOfRun,
  type StoredJob,
  trimRuns,
  updateRun,
} from "../store/jobs.ts";
import { type ProcessRow, updateProcess } from "../store/processes.ts";
import {
  getGeneration,
  insertGeneration,
  saveSubscription,
  setWishedProcesses,
  trimGenerations,
} from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";

/** What a run with arguments of its own leaves of generations to look at. */
const GENERATIONS_KEPT = 10;

export type NewRun = {
  /** Of the calendar; null when somebody asked. */
  readonly scheduledAt: string | null;
  /** Instead of the job's. */
  readonly args?: readonly string[];
};

/** By the job's word on concurrency: it is refused, takes the place of those that go on, or runs beside them.
 * @throws ControllerError JOB_RUNNING, TOO_MANY */
export function startRun(unit: Unit, stored: StoredJob, run: NewRun): JobRunRow {
  const { job } = stored;
  const active = countActiveRuns(unit.sql, job.id);
  if (active > 0 && job.job.concurrency === "forbid")
    throw new ControllerError("JOB_RUNNING", `job ${job.name} has a run that goes on`, {
      hint: `wait for it, cancel it, or set "concurrency" to "replace" or "allow"`,
    });
  if (job.job.concurrency === "replace") cancelRuns(unit, stored, "another run takes its place");
  else if (active >= RUNS_AT_ONCE_MAX)
    throw new ControllerError("TOO_MANY", `job ${job.name} has ${active} runs that go on`, {
      hint: "wait until some have ended, or cancel some",
    });
  const row: JobRunRow = {
    id: `${job.name}-${unit.newId()}`,
    jobId: job.id,
    scheduledAt: run.scheduledAt,
    state: "running",
    generation: generationOf(unit, stored, run.args),
    failures: 0,
    retryAt: null,
    startedAt: unit.now,
    endedAt: null,
    exit: null,
    reason: null,
  };
  insertRun(unit.sql, row);
  countWishes(unit, stored);
  unit.emit({
    type: "job.started",
    tenant: job.tenant,
    subject: job.name,
    message: `run ${row.id} of job ${job.name} begins${run.scheduledAt === null ? "" : ` for ${run.scheduledAt}`}`,
    data: { run: row.id, scheduledAt: run.scheduledAt },
  });
  return row;
}

/** Arguments of a run are a generation that the next one takes back. */
function generationOf(
  unit: Unit,
  { subscription }: StoredJob,
  args: readonly string[] | undefined,
): number {
  const { id: subscriptionId, generation } = subscription;
  if (args === undefined) return generation;
  const usual = getGeneration(unit.sql, { subscriptionId, generation });
  if (usual === undefined) throw new Error(`job ${subscriptionId} has no generation ${generation}`);
  const base = { subscriptionId, createdAt: unit.now };
  const spec = { ...usual.spec, args: [...args] };
  insertGeneration(unit.sql, { ...base, generation: generation + 1, spec });
  insertGeneration(unit.sql, { ...base, generation: generation + 2, spec: usual.spec });
  saveSubscription(unit.sql, { ...subscription, generation: generation + 2 });
  trimGenerations(unit.sql, subscriptionId, { oldest: generation - GENERATIONS_KEPT, kept: [] });
  return generation + 1;
}

export type RunEnd = {
  readonly state: Exclude<JobRunState, "running">;
  readonly reason: string | null;
  readonly exit: Exit | null;
};

/** Stops what there is of the run, and forgets the oldest that have ended. */
export function endRun(
  unit: Unit,
  {
    stored,
    run,
    end,
  }: { readonly stored: StoredJob; readonly run: JobRunRow; readonly end: RunEnd },
): void {
  const { job } = stored;
  updateRun(unit.sql, run.id, { ...end, endedAt: unit.now, retryAt: null });
  for (const row of listProcessesOfRun(unit.sql, run)) stopTry(unit, row);
  trimRuns(unit.sql, job.id, job.job.keepRuns);
  countWishes(unit, stored);
  unit.emit({
    type: `job.${end.state}`,
    tenant: job.tenant,
    subject: job.name,
    message: `run ${run.id} of job ${job.name} is ${end.state}${end.reason === null ? "" : `: ${end.reason}`}`,
    data: { run: run.id, ...(end.exit === null ? {} : { exit: end.exit }) },
  });
}

export function cancelRuns(unit: Unit, stored: StoredJob, reason: string): void {
  for (const run of listActiveRuns(unit.sql))
    if (run.jobId === stored.job.id) cancelRun(unit, { stored, run, reason });
}

/** Idempotent: one that has ended stays as it is. */
export function cancelRun(
  unit: Unit,
  {
    stored,
    run,
    reason,
  }: { readonly stored: StoredJob; readonly run: JobRunRow; readonly reason: string },
): void {
  if (run.state !== "running") return;
  endRun(unit, { stored, run, end: { state: "cancelled", reason, exit: null } });
}

/** One that has ended is left as it is, so that its end and its log can be looked at. */
export function stopTry(unit: Unit, row: ProcessRow): void {
  if (row.desired === "stopped" || isTerminal(row.state)) return;
  const isTold = row.nodeId !== null && row.state !== "pending" && row.state !== "suspect";
  updateProcess(unit.sql, row.id, {
    desired: "stopped",
    fence: row.fence + 1,
    ...(isTold ? { state: "draining", stateAt: unit.now } : {}),
    ...(row.nodeId === null ? {} : { decidedRevision: unit.touchNode(row.nodeId) }),
  });
}

/** The tenant's quota counts what a job runs as it counts the processes of a subscription. */
function countWishes(unit: Unit, { job, subscription }: StoredJob): void {
  setWishedProcesses(unit.sql, subscription.id, countActiveRuns(unit.sql, job.id));
}
