/** Brings runs of jobs to their end: what the calendars ask for, the next try, what is left to forget. */
import { isTerminal } from "@strata/protocol/agent/process-state";

import { type Calendar, parseCalendar } from "../domain/cron.ts";
import { planRun, planTurn, type RunStep, type Try } from "../domain/jobs.ts";
import { lossPatienceMs } from "../domain/node.ts";
import { endRun, startRun, stopTry } from "../operations/job-runs.ts";
import type { Sql } from "../store/database.ts";
import {
  type JobRow,
  type JobRunRow,
  listActiveRuns,
  listJobs,
  listKnownRuns,
  listRunProcesses,
  markJobSeen,
  type StoredJob,
  updateRun,
} from "../store/jobs.ts";
import { keepReading } from "../store/kept-tables.ts";
import { listNodes, type NodeRow } from "../store/nodes.ts";
import { deleteProcess, insertProcess, newProcess, type ProcessRow } from "../store/processes.ts";
import { deleteSubscription, getGeneration } from "../store/subscriptions.ts";
import type { Store, Unit } from "../store/unit.ts";
import type { SnapshotOptions } from "./snapshot.ts";

export type JobsOptions = {
  readonly store: Store;
  /** Of the moment: silence, beat interval, time. */
  readonly now: () => Pick<SnapshotOptions, "nowMs" | "silentMs" | "beatIntervalMs">;
  /** Nodes are silent in such number that the fault is taken for ours: nothing is tried elsewhere. */
  readonly isHeld: () => boolean;
};

/** Tries of one run that are kept to look at. */
const TRIES_KEPT = 3;
/** Steps of one tick; the rest comes in the next. */
const STEPS_MAX = 200;

type Step = (unit: Unit) => void;

const readJobs = keepReading(["jobs", "subscriptions"], listJobs);

/** Makes the tick. True when there is more to do at once. */
export function createJobs(options: JobsOptions): () => boolean {
  const { store } = options;
  const calendars = createCalendars();
  return () => {
    const jobs = readJobs(store.sql);
    if (jobs.length === 0) return false;
    const world = readWorld(jobs, options);
    const steps = [
      ...planTurns(world, calendars),
      ...world.runs.flatMap((run) => planRunSteps(world, run)),
      ...planLeftovers(world, store.sql),
      ...jobs.flatMap((stored) => planDeletion(world, stored)),
    ];
    calendars.keepOnly(jobs);
    if (steps.length === 0) return false;
    // Reads, plan and write happen without an await between them, so nothing can change under the plan.
    store.write((unit) => {
      for (const step of steps.slice(0, STEPS_MAX)) step(unit);
    });
    return true;
  };
}

type World = {
  readonly jobs: readonly StoredJob[];
  readonly byId: ReadonlyMap<string, StoredJob>;
  /** Those that go on. */
  readonly runs: readonly JobRunRow[];
  readonly processes: ReadonlyMap<string, readonly ProcessRow[]>;
  readonly nodes: ReadonlyMap<string, NodeRow>;
  readonly nowMs: number;
  readonly isLost: (row: ProcessRow, job: StoredJob) => boolean;
};

function readWorld(jobs: readonly StoredJob[], options: JobsOptions): World {
  const { sql } = options.store;
  const nodes = new Map(listNodes(sql).map((node) => [node.id, node]));
  const isHeld = options.isHeld();
  const { nowMs, silentMs, beatIntervalMs } = options.now();
  return {
    jobs,
    byId: new Map(jobs.map((stored) => [stored.job.id, stored])),
    runs: listActiveRuns(sql),
    processes: Map.groupBy(listRunProcesses(sql), ({ runId }) => runId ?? ""),
    nodes,
    nowMs,
    isLost: ({ nodeId }, { subscription }) => {
      if (nodeId === null || isHeld || nodes.get(nodeId)?.presence !== "away") return false;
      const patienceMs = lossPatienceMs(subscription.lostAfterMs, beatIntervalMs);
      return silentMs(nodeId) >= patienceMs;
    },
  };
}

/** The run and the word that its time was seen to are one transaction: no kill makes two runs of one time. */
function planTurns(world: World, calendars: Calendars): readonly Step[] {
  return world.jobs.flatMap((stored): readonly Step[] => {
    const { job, subscription } = stored;
    const calendar = calendars.of(job);
    if (calendar === undefined || subscription.deletedAt !== null || job.job.suspended) return [];
    const seenMs = Date.parse(job.scheduledAt ?? job.createdAt);
    if (!calendars.isDue(job, world.nowMs)) return [];
    const running = world.runs.filter(({ jobId }) => jobId === job.id).length;
    const turn = planTurn(job.job, { calendar, seenMs, nowMs: world.nowMs, running });
    if (turn.kind === "rest") return [];
    const scheduledAt = new Date(turn.at).toISOString();
    return [
      (unit) => {
        markJobSeen(unit.sql, job.id, scheduledAt);
        if (turn.kind === "start") startRun(unit, stored, { scheduledAt });
        else announceMissed(unit, job, scheduledAt);
      },
    ];
  });
}

function announceMissed(unit: Unit, job: JobRow, scheduledAt: string): void {
  unit.emit({
    type: "job.missed",
    tenant: job.tenant,
    subject: job.name,
    message: `job ${job.name} has no run for ${scheduledAt}: it could not begin within ${job.job.startWithin / 1000} s`,
    data: { scheduledAt },
  });
}

function planRunSteps(world: World, run: JobRunRow): readonly Step[] {
  const stored = world.byId.get(run.jobId);
  if (stored === undefined) return [];
  const rows = world.processes.get(run.id) ?? [];
  const current = rows.find(({ attempt }) => attempt === run.failures);
  const step = planRun(stored.job.job, {
    failures: run.failures,
    startedMs: Date.parse(run.startedAt),
    retryAtMs: run.retryAt === null ? undefined : Date.parse(run.retryAt),
    nowMs: world.nowMs,
    current: current === undefined ? undefined : toTry(world, current, stored),
  });
  return step.kind === "rest" ? [] : [(unit) => takeStep(unit, { stored, run, current, step })];
}

function toTry(world: World, row: ProcessRow, stored: StoredJob): Try {
  const { id, state, lastExit, problem } = row;
  return { id, state, exit: lastExit, problem, isLost: world.isLost(row, stored) };
}

type Taken = {
  readonly stored: StoredJob;
  readonly run: JobRunRow;
  readonly current: ProcessRow | undefined;
  readonly step: Exclude<RunStep, { kind: "rest" }>;
};

function takeStep(unit: Unit, { stored, run, current, step }: Taken): void {
  switch (step.kind) {
    case "try":
      return makeTry(unit, stored, run);
    case "retry": {
      const { reason, exit, atMs } = step;
      const failures = run.failures + 1;
      const retryAt = new Date(atMs).toISOString();
      updateRun(unit.sql, run.id, { failures, retryAt, reason, exit });
      if (current !== undefined) stopTry(unit, current);
      return unit.emit({
        type: "job.retried",
        tenant: stored.job.tenant,
        subject: stored.job.name,
        message: `try ${failures} of run ${run.id} failed (${reason}); the next comes at ${retryAt}`,
        data: { run: run.id, failures },
      });
    }
    case "end":
      return endRun(unit, { stored, run, end: step });
    default:
      return step satisfies never;
  }
}

function makeTry(unit: Unit, stored: StoredJob, run: JobRunRow): void {
  const { job, subscription } = stored;
  const { generation, failures: attempt, id: runId } = run;
  const key = { subscriptionId: subscription.id, generation };
  if (getGeneration(unit.sql, key) === undefined) {
    const reason = "what it was to run is no longer kept: the job was changed too often meanwhile";
    return endRun(unit, { stored, run, end: { state: "failed", reason, exit: null } });
  }
  updateRun(unit.sql, run.id, { retryAt: null });
  insertProcess(unit.sql, {
    ...newProcess(unit, { ...key, alias: job.name, attempt }),
    runId,
  });
}

/** Processes of runs that nobody remembers, tries beyond the last few, and those whose node is given away: the log goes
 * with the process. */
function planLeftovers(world: World, sql: Sql): readonly Step[] {
  const ids = [...world.processes.keys()];
  if (ids.length === 0) return [];
  const known = listKnownRuns(sql, ids);
  return [...world.processes].flatMap(([runId, rows]) => {
    const keptFrom = rows.length - TRIES_KEPT;
    return rows.flatMap((row, index): readonly Step[] => {
      const isKept = known.has(runId) && index >= keptFrom && !isLeaving(world, row);
      const isOver = isTerminal(row.state) || (row.nodeId === null && row.desired === "stopped");
      if (isOver) return isKept && row.nodeId !== null ? [] : [(unit) => forget(unit, row)];
      return known.has(runId) || row.desired === "stopped" ? [] : [(unit) => stopTry(unit, row)];
    });
  });
}

function isLeaving({ nodes }: World, { nodeId }: ProcessRow): boolean {
  return nodeId !== null && nodes.get(nodeId)?.admission === "draining";
}

function forget(unit: Unit, row: ProcessRow): void {
  deleteProcess(unit.sql, row.id);
  if (row.nodeId !== null) unit.touchNode(row.nodeId);
}

function planDeletion(world: World, { job, subscription }: StoredJob): readonly Step[] {
  if (subscription.deletedAt === null) return [];
  const rows = [...world.processes.values()]
    .flat()
    .filter(({ subscriptionId }) => subscriptionId === subscription.id);
  if (rows.length > 0)
    return rows
      .filter(({ state }) => isTerminal(state))
      .map((row) => (unit: Unit) => forget(unit, row));
  return [
    (unit) => {
      // With its runs.
      deleteSubscription(unit.sql, subscription.id);
      unit.emit({
        type: "job.deleted",
        tenant: job.tenant,
        subject: job.name,
        message: `job ${job.name} is gone`,
      });
    },
  ];
}

type Calendars = {
  readonly of: (job: JobRow) => Calendar | undefined;
  /** Whether a time has come since the last one that was seen to. */
  readonly isDue: (job: JobRow, nowMs: number) => boolean;
  readonly keepOnly: (jobs: readonly StoredJob[]) => void;
};

type Known = {
  readonly key: string;
  readonly calendar: Calendar;
  readonly seenMs: number;
  readonly nextMs: number;
};

/** Reading a calendar takes far longer than comparing two times, and is done when something has changed. */
function createCalendars(): Calendars {
  const known = new Map<string, Known>();
  const read = (job: JobRow): Known | undefined => {
    const { cron, timezone } = job.job;
    if (cron === undefined) return undefined;
    const key = `${timezone} ${cron}`;
    const seenMs = Date.parse(job.scheduledAt ?? job.createdAt);
    const found = known.get(job.id);
    if (found?.key === key && found.seenMs === seenMs) return found;
    const calendar = found?.key === key ? found.calendar : parseCalendar({ cron, timezone });
    const one = { key, calendar, seenMs, nextMs: calendar.next(seenMs) ?? Infinity };
    known.set(job.id, one);
    return one;
  };
  return {
    of: (job) => read(job)?.calendar,
    isDue: (job, nowMs) => nowMs >= (read(job)?.nextMs ?? Infinity),
    keepOnly: (jobs) => {
      if (known.size <= jobs.length) return;
      const ids = new Set(jobs.map(({ job }) => job.id));
      for (const id of known.keys()) if (!ids.has(id)) known.delete(id);
    },
  };
}
