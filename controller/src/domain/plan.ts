/** What has to happen so that a subscription's processes become as wished. Pure: no clock, no randomness, no I/O. */
import { isTerminal } from "@strata/protocol/agent/process-state";

import { divide, type Room } from "./plan-hold.ts";
import { endDrains, keepDraining, mustDrain, planVictims, recallDraining } from "./plan-shrink.ts";
import { planSleep } from "./plan-sleep.ts";
import {
  isBlocked,
  isOutdated,
  isServing,
  isSettled,
  type PlannedProcess,
  type Wish,
} from "./planned-process.ts";

export type StopReason = "failed" | "surplus" | "outdated" | "drained";
export type Action =
  /** `attempt` counts the failures before it. */
  | { readonly kind: "create"; readonly generation: number; readonly attempt: number }
  | { readonly kind: "stop"; readonly processId: string; readonly reason: StopReason }
  /** It is no longer wanted, and may be asked something yet. Its node does not hear of it before it is told to stop. */
  | { readonly kind: "drain"; readonly processId: string }
  /** It is wanted again before its drain was over. */
  | { readonly kind: "keep"; readonly processId: string }
  /** Its subscription sleeps: requests go elsewhere from now on, then it is frozen; or they may come again. */
  | { readonly kind: "announceFreeze" | "freeze" | "wake"; readonly processId: string }
  /** It takes over the limits of the newest generation, and runs on. */
  | { readonly kind: "resize"; readonly processId: string }
  /** It has ended, or never began: nothing of it is left on a node. */
  | { readonly kind: "forget"; readonly processId: string };

const RETRY_FIRST_MS = 10_000;
const RETRY_MAX_MS = 16 * 60_000;

/** How long a process that failed for good is left for people to look at before another is tried in its place. */
export function retryDelayMs(attempt: number): number {
  return Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(attempt, 20));
}

/** At most one action for each process. What it creates never makes more live than `count` and `surge`, those that drain
 * included unless fewer than `count` without `unavailable` would be there; and it stops or drains nothing that serves
 * when fewer than that would be left, with the one exception of `unblock`.
 * An empty plan means: as wished, or waiting for a report. */
export function planSubscription(
  wish: Wish,
  processes: readonly PlannedProcess[],
): readonly Action[] {
  const actions = planCount(wish, processes);
  return [...actions, ...planSleep(wish, processes, actions)];
}

function planCount(wish: Wish, processes: readonly PlannedProcess[]): readonly Action[] {
  const { count, surge, unavailable, hold } = wish;
  if (hold === null) {
    const least = count - unavailable;
    const room = { livingMax: count + surge, livingMin: least, servingMin: least };
    return planPart(wish, processes, { ...room, drainingBeside: 0 });
  }
  const { older, newest } = divide(wish, hold, processes);
  const first = planPart(older.wish, older.processes, older.room);
  const told = new Map(first.flatMap((one) => ("processId" in one ? [[one.processId, one]] : [])));
  const last = newest({
    created: first.filter(({ kind }) => kind === "create").length,
    after: (one) => foresee(one, told.get(one.id)),
  });
  return [...first, ...planPart(last.wish, last.processes, last.room)];
}

function foresee(one: PlannedProcess, action: Action | undefined): readonly PlannedProcess[] {
  switch (action?.kind) {
    case "stop":
      return [];
    case "drain":
      return [{ ...one, drain: { deadline: Infinity, isOver: false } }];
    case "keep":
      return [{ ...one, drain: null }];
    default:
      return [one];
  }
}

function planPart(
  wish: Wish,
  processes: readonly PlannedProcess[],
  limits: Room,
): readonly Action[] {
  const groups = sortOut(wish, processes);
  const { current, stale, draining, failed, outdatedFailed, due } = groups;
  const overdue = current.length + failed.length - wish.count;
  const others = [...current, ...stale];

  // A slot whose process failed stays taken until its retry is due.
  const waiting = failed.length - due.length;
  const wanting = Math.max(0, wish.count - current.length - waiting);
  const wanted = keepDraining(wish, { draining, wanting });
  const kept = [...wanted, ...recallDraining(wish, { draining, others, kept: wanted })];
  const room = roomFor(limits, {
    taken: others.length + kept.length,
    draining: draining.length - kept.length,
  });
  const creates = Math.min(wanting - wanted.length, room);

  const dueOldestFirst = due.toSorted((left, right) => right.attempt - left.attempt);
  const retried = dueOldestFirst.slice(0, creates);
  const surplusFailed =
    overdue > 0 ? failed.filter((one) => !retried.includes(one)).slice(0, overdue) : [];
  const surplus = [
    ...planVictims(wish, current, current.length - wish.count),
    ...planVictims(wish, groups.lost, groups.lost.length - wish.count),
  ];
  const going = [...surplus, ...replaced(wish, groups)];

  const actions = [
    ...groups.gone.map(forget),
    ...[...retried, ...surplusFailed, ...outdatedFailed].map((one) => stop(one, "failed")),
    ...kept.map(({ id: processId }): Action => ({ kind: "keep", processId })),
    ...endDrains(wish, { draining, others, kept, servingMin: limits.servingMin }).map((one) =>
      stop(one, whyGone(wish, one)),
    ),
    ...going.map((one) => (mustDrain(wish, one) ? drain(one) : stop(one, whyGone(wish, one)))),
    ...Array.from({ length: creates }, (_, index): Action => {
      const attempt = retried[index]?.attempt;
      const { generation } = wish;
      return { kind: "create", generation, attempt: attempt === undefined ? 0 : attempt + 1 };
    }),
  ];
  return [...actions, ...planResizes(wish, current, actions)];
}

/** How many more may be created: what drains still serves, and takes room. */
function roomFor(
  { livingMax, livingMin, drainingBeside }: Room,
  { taken, draining }: { readonly taken: number; readonly draining: number },
): number {
  const room = livingMax - taken;
  const beside = room - draining - drainingBeside;
  return Math.max(0, Math.min(room, Math.max(beside, livingMin - taken)));
}

function whyGone(wish: Wish, one: PlannedProcess): StopReason {
  if (isOutdated(wish, one)) return "outdated";
  return one.whereabouts === "leaving" || one.whereabouts === "evicted" ? "drained" : "surplus";
}

/** Those that stay as they are but for their limits. */
function planResizes(
  wish: Wish,
  current: readonly PlannedProcess[],
  actions: readonly Action[],
): readonly Action[] {
  const resized = current.filter(({ generation }) => generation !== wish.generation);
  if (resized.length === 0) return [];
  const busy = new Set(actions.flatMap((one) => ("processId" in one ? [one.processId] : [])));
  return resized
    .filter(({ id }) => !busy.has(id))
    .map(({ id: processId }): Action => ({ kind: "resize", processId }));
}

type Groups = {
  /** Told to stop, and nothing is left of them. */
  readonly gone: readonly PlannedProcess[];
  /** Told to stop, still there. */
  readonly stopping: readonly PlannedProcess[];
  /** No longer wanted, not yet told to stop. */
  readonly draining: readonly PlannedProcess[];
  /** As wished, and where they may stay. */
  readonly current: readonly PlannedProcess[];
  /** Of an older generation, or on a node that is drained. */
  readonly stale: readonly PlannedProcess[];
  /** As wished, but on a lost node: replaced, and measured anew against the wish when the node returns. */
  readonly lost: readonly PlannedProcess[];
  readonly failed: readonly PlannedProcess[];
  /** Of `failed`: waited long enough for another try. */
  readonly due: readonly PlannedProcess[];
  readonly outdatedFailed: readonly PlannedProcess[];
};

function sortOut(wish: Wish, processes: readonly PlannedProcess[]): Groups {
  const ending = processes.filter(({ desired }) => desired === "stopped");
  const all = processes.filter(({ desired }) => desired === "running");
  const live = all.filter((one) => !isDraining(one));
  const failed = live.filter(({ state }) => isTerminal(state));
  const failedNow = failed.filter((one) => !isOutdated(wish, one));
  const serving = live.filter(
    ({ state, whereabouts }) => !isTerminal(state) && (whereabouts !== "lost" || wish.held),
  );
  const lost = live.filter(
    ({ state, whereabouts }) => !isTerminal(state) && whereabouts === "lost" && !wish.held,
  );
  const mayStay = (one: PlannedProcess): boolean =>
    !isOutdated(wish, one) && one.whereabouts !== "leaving" && one.whereabouts !== "evicted";
  return {
    gone: ending.filter(isGone),
    stopping: ending.filter((one) => !isGone(one)),
    draining: all.filter(isDraining),
    current: serving.filter(mayStay),
    stale: [
      ...serving.filter((one) => !mayStay(one)),
      // One that is lost and outdated is not waited for: if its node returns, it finds the order to stop it.
      ...lost.filter((one) => isOutdated(wish, one)),
    ],
    lost: lost.filter((one) => !isOutdated(wish, one)),
    failed: failedNow,
    due: failedNow.filter(({ attempt, inStateMs }) => inStateMs >= retryDelayMs(attempt)),
    outdatedFailed: failed.filter((one) => isOutdated(wish, one)),
  };
}

/** The stale processes that are no longer needed: those that serve nobody, and as many ready ones as the others can
 * do without. */
function replaced(wish: Wish, groups: Groups): readonly PlannedProcess[] {
  const { current, stale } = groups;
  const ready = stale.filter(isServing);
  const asleep = stale.filter(isAsleep);
  const idle = stale.filter((one) => !isServing(one) && !isAsleep(one));
  const settled = current.filter((one) => isSettled(wish, one)).length;
  const spare = settled + ready.length - Math.max(0, wish.count - wish.unavailable);
  const isStuck = spare === 0 && unblock(wish, groups);
  // The place of one on a node that takes nothing new is of no use to a replacement.
  const giving = isStuck ? ready.filter(({ whereabouts }) => whereabouts !== "leaving") : ready;
  // One on a silent node may well serve, and is done without only when enough others are known to.
  return [...idle, ...(spare < 0 ? [] : asleep), ...planVictims(wish, giving, isStuck ? 1 : spare)];
}

/** A replacement that finds no room (a full node, a fixed host port) would wait for ever: one ready process gives way
 * then, once nothing else is under way. */
function unblock(wish: Wish, { current, stopping }: Groups): boolean {
  const isUnderWay = current.some((one) => !isBlocked(one) && !isSettled(wish, one));
  return current.some(isBlocked) && !isUnderWay && stopping.length === 0;
}

function isAsleep({ whereabouts, ready }: PlannedProcess): boolean {
  return whereabouts === "away" && ready;
}

/** The deadline of its node ends that, too. */
function isDraining({ drain: ours, whereabouts }: PlannedProcess): boolean {
  return ours !== null && whereabouts !== "evicted";
}

function isGone({ state, nodeId }: PlannedProcess): boolean {
  return isTerminal(state) || nodeId === undefined;
}

function stop({ id: processId }: PlannedProcess, reason: StopReason): Action {
  return { kind: "stop", processId, reason };
}

function drain({ id: processId }: PlannedProcess): Action {
  return { kind: "drain", processId };
}

function forget({ id: processId }: PlannedProcess): Action {
  return { kind: "forget", processId };
}
