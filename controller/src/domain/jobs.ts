/** What has to happen so that jobs run as they are wished to. Pure. */
import type { Exit } from "@strata/protocol/agent/messages";
import type { ProcessState } from "@strata/protocol/agent/process-state";
import type { JobRunState, JobSchedule } from "@strata/protocol/api/jobs";

import type { Calendar } from "./cron.ts";
import type { Problem } from "./process.ts";

/** The subscription that holds what a job runs has an alias that no person can give. */
const ALIAS_PREFIX = "job:";

export function jobAlias(name: string): string {
  return `${ALIAS_PREFIX}${name}`;
}

export function isJobAlias(alias: string): boolean {
  return alias.startsWith(ALIAS_PREFIX);
}

/** Runs of one job at a time, whatever its calendar and its callers ask for. */
export const RUNS_AT_ONCE_MAX = 100;

export type Turn =
  /** Nothing is due, or what is due waits for another run. */
  | { readonly kind: "rest" }
  /** Too late, or too many: it is left out. */
  | { readonly kind: "miss"; readonly at: number }
  | { readonly kind: "start"; readonly at: number };

/** What the calendar asks for now. Of several times that nobody saw to, the last one counts alone: a controller that was
 * down makes up for one run at most. Times in milliseconds since 1970. */
export function planTurn(
  { concurrency, startWithin }: Pick<JobSchedule, "concurrency" | "startWithin">,
  {
    calendar,
    seenMs,
    nowMs,
    running,
  }: {
    readonly calendar: Calendar;
    /** The last time that was seen to. */
    readonly seenMs: number;
    readonly nowMs: number;
    /** Runs that go on. */
    readonly running: number;
  },
): Turn {
  const at = calendar.latest(nowMs);
  if (at === undefined || at <= seenMs) return { kind: "rest" };
  if (nowMs - at > startWithin) return { kind: "miss", at };
  const isFull = running >= RUNS_AT_ONCE_MAX && concurrency === "allow";
  const mustWait = (concurrency === "forbid" && running > 0) || isFull;
  return mustWait ? { kind: "rest" } : { kind: "start", at };
}

/** A try of a run. */
export type Try = {
  readonly id: string;
  readonly state: ProcessState;
  readonly exit: Exit | null;
  readonly problem: Problem | null;
  /** Its node has been silent for too long; it may well run. */
  readonly isLost: boolean;
};

export type RunView = {
  readonly failures: number;
  /** Milliseconds since 1970. */
  readonly startedMs: number;
  readonly retryAtMs: number | undefined;
  readonly nowMs: number;
  /** The try of now; undefined before it is made, and when its node was deleted. */
  readonly current: Try | undefined;
};

export type RunStep =
  | { readonly kind: "rest" }
  | { readonly kind: "try" }
  /** The try of now has failed, and there will be another. */
  | {
      readonly kind: "retry";
      readonly atMs: number;
      readonly reason: string;
      readonly exit: Exit | null;
    }
  | {
      readonly kind: "end";
      readonly state: Exclude<JobRunState, "running" | "cancelled">;
      readonly reason: string | null;
      readonly exit: Exit | null;
    };

const RETRY_FIRST_MS = 10_000;
const RETRY_MAX_MS = 6 * 60_000;

/** How long after its `failures`-th failure a run is tried again: 10 s, doubling up to 6 min. */
export function runRetryDelayMs(failures: number): number {
  return Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(Math.max(0, failures - 1), 20));
}

/** The next step of a run. A try on a node that is lost counts as a failed one, although it may go on there: a run is
 * done at least once, not at most once. */
export function planRun(
  { retries, timeout }: Pick<JobSchedule, "retries" | "timeout">,
  { failures, startedMs, retryAtMs, nowMs, current }: RunView,
): RunStep {
  const outcome = current === undefined ? undefined : outcomeOf(current);
  if (outcome?.isGood === true)
    return { kind: "end", state: "succeeded", reason: null, exit: outcome.exit };
  if (timeout !== undefined && nowMs - startedMs >= timeout)
    return {
      kind: "end",
      state: "failed",
      reason: `it took longer than ${timeout / 1000} s`,
      exit: outcome?.exit ?? null,
    };
  if (current === undefined)
    return retryAtMs !== undefined && nowMs < retryAtMs ? { kind: "rest" } : { kind: "try" };
  if (outcome === undefined) return { kind: "rest" };
  const { reason, exit } = outcome;
  if (failures >= retries) return { kind: "end", state: "failed", reason, exit };
  return { kind: "retry", atMs: nowMs + runRetryDelayMs(failures + 1), reason, exit };
}

type Outcome = { readonly isGood: boolean; readonly reason: string; readonly exit: Exit | null };

/** Undefined while it goes on. */
function outcomeOf({ state, exit, problem, isLost }: Try): Outcome | undefined {
  if (state === "stopped" || state === "failed") {
    const isGood = state === "stopped" && exit?.code === 0;
    return { isGood, reason: problem?.message ?? describeEnd(exit), exit };
  }
  return isLost ? { isGood: false, reason: "its node is lost", exit: null } : undefined;
}

function describeEnd(exit: Exit | null): string {
  return exit === null ? "it ended, nobody knows how" : `ended with ${exit.code} (${exit.reason})`;
}
