/** The life of a roll-out: which state follows from what its processes do. Pure. */
import { isTerminal } from "@strata/protocol/agent/process-state";
import type { RolloutPolicy, RolloutState } from "@strata/protocol/api/rollouts";

import { isServing, isSettled, type PlannedProcess, type Wish } from "./planned-process.ts";
import type { Problem } from "./process.ts";

/** The legal moves. What failed is still tried, so it may yet come to its end. */
const rolloutTransitions: Readonly<Record<RolloutState, readonly RolloutState[]>> = {
  progressing: ["canary", "paused", "complete", "failed", "rolledBack", "superseded"],
  canary: ["progressing", "paused", "complete", "failed", "rolledBack", "superseded"],
  paused: ["progressing", "rolledBack", "superseded"],
  failed: ["progressing", "canary", "complete", "rolledBack", "superseded"],
  complete: ["rolledBack"],
  rolledBack: [],
  superseded: [],
};

export function canMove(from: RolloutState, to: RolloutState): boolean {
  return rolloutTransitions[from].includes(to);
}

/** No state of it follows but by a person's wish. */
export function isOver(state: RolloutState): boolean {
  return state === "complete" || state === "rolledBack" || state === "superseded";
}

/** A process of the generation as it tells how the roll-out goes. */
export type Witness = PlannedProcess & {
  readonly restarts: number;
  readonly problem: Problem | null;
  /** RFC 3339; null before it was ready for the first time. */
  readonly firstReadyAt: string | null;
};

/** The processes of a subscription, as told apart by its generation. */
export type Witnesses = {
  readonly newest: readonly Witness[];
  readonly older: readonly PlannedProcess[];
};

export type Course = {
  /** Of `hold`, and of all: what it is to reach. */
  readonly wanted: number;
  /** Live processes of the generation. */
  readonly updated: number;
  /** Of these the ones that were ready for long enough. */
  readonly settled: number;
  /** Of these the ones that are ready now. */
  readonly ready: number;
  /** Processes of other generations that are not told to go. */
  readonly older: number;
  /** Since when all that are settled have been ready. */
  readonly readyForMs: number;
  readonly lastReadyAtMs: number;
  /** Why it cannot come to an end; undefined as long as it may. */
  readonly failure: string | undefined;
  /** What keeps one of them from being ready. */
  readonly obstacle: string | undefined;
};

/** After so many restarts without being ready the crash policy begins to wait, and it is a failure. */
const RESTARTS_MAX = 3;
/** A failure beside others that are well may be the fault of a node: so many more tries are waited for. */
const ATTEMPTS_BESIDE = 2;
const RESTARTS_BESIDE = 5;
/** Faults of a node, which says nothing about what it was to run. */
const faultsOfNodes: readonly string[] = ["START_DEADLINE_PASSED"];

/** How far the generation is. */
export function readCourse(wish: Wish, { older, ...processes }: Witnesses): Course {
  const newest = processes.newest.filter(isWanted);
  const live = newest.filter(
    ({ state, whereabouts }) => !isTerminal(state) && whereabouts !== "lost",
  );
  const settled = live.filter((one) => isSettled(wish, one));
  return {
    wanted: wish.hold === null ? wish.count : Math.min(wish.count, wish.hold.newest),
    updated: live.length,
    settled: settled.length,
    ready: live.filter(isServing).length,
    older: older.filter((one) => isWanted(one) && !isTerminal(one.state)).length,
    readyForMs: settled.reduce((least, { readyMs }) => Math.min(least, readyMs), Infinity),
    lastReadyAtMs: Date.parse(newest.reduce(laterReady, "") || EPOCH),
    failure: failureOf(newest, settled.length),
    obstacle: describe(newest.find((one) => one.problem !== null && !isServing(one))),
  };
}

const EPOCH = "1970-01-01T00:00:00.000Z";

function laterReady(latest: string, { firstReadyAt }: Witness): string {
  return firstReadyAt !== null && firstReadyAt > latest ? firstReadyAt : latest;
}

function isWanted({ desired, drain }: PlannedProcess): boolean {
  return desired === "running" && drain === null;
}

function failureOf(newest: readonly Witness[], settled: number): string | undefined {
  const broken = newest.filter(isBroken);
  const first = broken[0];
  if (first === undefined) return undefined;
  // As long as others may come up, one alone says little.
  const isAlone = settled === 0 && broken.length === newest.length;
  const again = broken.find(
    ({ attempt, restarts }) => attempt >= ATTEMPTS_BESIDE || restarts >= RESTARTS_BESIDE,
  );
  return describe(isAlone ? first : again);
}

function isBroken({ state, restarts, ready, problem }: Witness): boolean {
  if (problem === null || ready || faultsOfNodes.includes(problem.code)) return false;
  return state === "failed" || (state === "starting" && restarts >= RESTARTS_MAX);
}

function describe(one: Witness | undefined): string | undefined {
  if (one === undefined || one.problem === null) return undefined;
  return `process ${one.id}: ${one.problem.message} (${one.problem.code})`;
}

export type RolloutRecord = {
  readonly state: RolloutState;
  readonly reason: string | null;
  readonly isPromoted: boolean;
  readonly progressAtMs: number;
};

export type Judging = {
  readonly policy: RolloutPolicy;
  /** Whether it stops at its canaries. */
  readonly hasCanaries: boolean;
  readonly nowMs: number;
  /** Nodes are silent in great number: nobody is to blame for waiting. */
  readonly isHeld: boolean;
};

/** What is to be written down of the roll-out now; the same record when nothing changes. */
export function judgeRollout(
  record: RolloutRecord,
  course: Course,
  judging: Judging,
): RolloutRecord {
  if (record.state === "paused" || isOver(record.state)) return record;
  const { nowMs } = judging;
  const progressAtMs = Math.min(nowMs, Math.max(record.progressAtMs, course.lastReadyAtMs));
  const now = { ...record, progressAtMs };
  if (judging.hasCanaries) return judgeCanaries(now, course, judging);
  const isOfNothing = course.wanted === 0 && record.state === "failed";
  if (course.settled >= course.wanted && course.older === 0 && !isOfNothing)
    return { ...now, state: "complete", reason: null };
  if (record.state === "failed") return now;
  const failure = course.failure ?? stalled(now, course, judging);
  if (failure !== undefined) return { ...now, state: "failed", reason: failure };
  // Canaries that were found good without a word, because there are none any more.
  return record.state === "canary"
    ? { ...now, state: "progressing", reason: null, progressAtMs: nowMs }
    : now;
}

function judgeCanaries(now: RolloutRecord, course: Course, judging: Judging): RolloutRecord {
  const { policy, nowMs } = judging;
  const isGood = course.settled >= course.wanted;
  if (isGood && policy.canaryFor !== undefined && course.readyForMs >= policy.canaryFor)
    return { state: "progressing", reason: null, isPromoted: true, progressAtMs: nowMs };
  if (isGood) return now.state === "canary" ? now : { ...now, state: "canary", reason: null };
  if (now.state === "failed") return now;
  // Canaries that were ready and wait are under no deadline.
  const late = now.state === "canary" ? undefined : stalled(now, course, judging);
  const failure = course.failure ?? late;
  return failure === undefined ? now : { ...now, state: "failed", reason: failure };
}

function stalled(
  { progressAtMs }: RolloutRecord,
  { obstacle, settled, wanted }: Course,
  { policy, nowMs, isHeld }: Judging,
): string | undefined {
  if (isHeld || nowMs - progressAtMs < policy.progressDeadline) return undefined;
  const why = obstacle ?? `${settled} of ${wanted} processes were ready for long enough`;
  return `no progress for ${policy.progressDeadline / 1000} s: ${why}`;
}
