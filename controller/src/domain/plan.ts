/** What has to happen so that a subscription's processes become as wished. Pure: no clock, no randomness, no I/O. */
import { isTerminal, type ProcessState } from "@strata/protocol/agent/process-state";

/** Where a process is, as far as planning goes:
 * unplaced  waits for a node
 * blocked   waits, and the scheduler found no node that has room
 * here      on a node that may keep it
 * leaving   on a node that is being drained
 * away      on a silent node, for less than the subscription's `lostAfter`
 * lost      on a node that has been silent for longer */
export type Whereabouts = "unplaced" | "blocked" | "here" | "leaving" | "away" | "lost";

export type PlannedProcess = {
  readonly id: string;
  readonly generation: number;
  readonly desired: "running" | "stopped";
  readonly state: ProcessState;
  readonly ready: boolean;
  readonly whereabouts: Whereabouts;
  readonly nodeId: string | undefined;
  readonly attempt: number;
  /** Since the last change of `state`. */
  readonly inStateMs: number;
  /** RFC 3339; with the id it makes an order. */
  readonly createdAt: string;
};

export type Wish = {
  readonly count: number;
  readonly generation: number;
  /** Nodes are silent in such number that the fault is taken for ours: lost processes get no replacement. */
  readonly held: boolean;
};

export type StopReason = "failed" | "surplus" | "outdated" | "drained";
export type Action =
  /** `attempt` counts the failures before it. */
  | { readonly kind: "create"; readonly attempt: number }
  | { readonly kind: "stop"; readonly processId: string; readonly reason: StopReason }
  /** It has ended, or never began: nothing of it is left on a node. */
  | { readonly kind: "forget"; readonly processId: string };

const RETRY_FIRST_MS = 10_000;
const RETRY_MAX_MS = 16 * 60_000;

/** How long a process that failed for good is left for people to look at before another is tried in its place. */
export function retryDelayMs(attempt: number): number {
  return Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(attempt, 20));
}

/** How many more processes than wished may live while old ones are replaced. */
export function surgeMax(count: number): number {
  return Math.max(1, Math.ceil(count / 4));
}

/** At most one action for each process. Nothing that is ready is stopped before its replacement is, with the one
 * exception of `unblock`. An empty plan means: as wished, or waiting for a report. */
export function planSubscription(
  wish: Wish,
  processes: readonly PlannedProcess[],
): readonly Action[] {
  const groups = sortOut(wish, processes);
  const { current, stale, failed, outdatedFailed, due } = groups;
  const overdue = current.length + failed.length - wish.count;

  // A slot whose process failed stays taken until its retry is due.
  const waiting = failed.length - due.length;
  const missing = Math.max(0, wish.count - current.length - waiting);
  const room = Math.max(0, wish.count + surgeMax(wish.count) - current.length - stale.length);
  const creates = stale.length === 0 ? missing : Math.min(missing, room);

  const dueOldestFirst = due.toSorted((left, right) => right.attempt - left.attempt);
  const retried = dueOldestFirst.slice(0, creates);
  const surplusFailed =
    overdue > 0 ? failed.filter((one) => !retried.includes(one)).slice(0, overdue) : [];
  const surplus = [
    ...chooseVictims(current, current.length - wish.count),
    ...chooseVictims(groups.lost, groups.lost.length - wish.count),
  ];

  return [
    ...groups.gone.map(forget),
    ...[...retried, ...surplusFailed, ...outdatedFailed].map((one) => stop(one, "failed")),
    ...surplus.map((one) => stop(one, "surplus")),
    ...replaced(wish, groups).map((one) =>
      stop(one, isOutdated(wish, one) ? "outdated" : "drained"),
    ),
    ...Array.from({ length: creates }, (_, index): Action => {
      const attempt = retried[index]?.attempt;
      return { kind: "create", attempt: attempt === undefined ? 0 : attempt + 1 };
    }),
  ];
}

/** Which `count` processes go first when there are too many: those that serve least. Among equals the newest, on the
 * node that has most of them. */
export function chooseVictims(
  processes: readonly PlannedProcess[],
  count: number,
): readonly PlannedProcess[] {
  if (count <= 0) return [];
  const perNode = new Map<string, number>();
  for (const { nodeId } of processes) {
    if (nodeId !== undefined) perNode.set(nodeId, (perNode.get(nodeId) ?? 0) + 1);
  }
  return processes
    .toSorted(
      (left, right) =>
        usefulness(left) - usefulness(right) ||
        (perNode.get(right.nodeId ?? "") ?? 0) - (perNode.get(left.nodeId ?? "") ?? 0) ||
        newestFirst(left, right),
    )
    .slice(0, count);
}

type Groups = {
  /** Told to stop, and nothing is left of them. */
  readonly gone: readonly PlannedProcess[];
  /** Told to stop, still there. */
  readonly stopping: readonly PlannedProcess[];
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
  const live = processes.filter(({ desired }) => desired === "running");
  const failed = live.filter(({ state }) => isTerminal(state));
  const failedNow = failed.filter((one) => !isOutdated(wish, one));
  const serving = live.filter(
    ({ state, whereabouts }) => !isTerminal(state) && (whereabouts !== "lost" || wish.held),
  );
  const lost = live.filter((one) => !serving.includes(one) && !failed.includes(one));
  const mayStay = (one: PlannedProcess): boolean =>
    !isOutdated(wish, one) && one.whereabouts !== "leaving";
  return {
    gone: ending.filter(isGone),
    stopping: ending.filter((one) => !isGone(one)),
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

/** The stale processes that are no longer needed: those that serve nobody, and as many ready ones as are replaced. */
function replaced(wish: Wish, groups: Groups): readonly PlannedProcess[] {
  const { current, stale } = groups;
  const idle = stale.filter((one) => !isServing(one));
  const ready = stale.filter(isServing);
  const spare = current.filter(isServing).length + ready.length - wish.count;
  return [...idle, ...chooseVictims(ready, spare > 0 ? spare : unblock(groups))];
}

/** A replacement that finds no room (a full node, a fixed host port) would wait for ever: one ready process gives way
 * then, once nothing else is under way. */
function unblock({ current, stopping }: Groups): number {
  const stuck = current.some(({ whereabouts }) => whereabouts === "blocked");
  const underWay = current.some((one) => one.whereabouts !== "blocked" && !isServing(one));
  return stuck && !underWay && stopping.length === 0 ? 1 : 0;
}

function isOutdated(wish: Wish, { generation }: PlannedProcess): boolean {
  return generation !== wish.generation;
}

function isGone({ state, nodeId }: PlannedProcess): boolean {
  return isTerminal(state) || nodeId === undefined;
}

function isServing({ ready, whereabouts, state }: PlannedProcess): boolean {
  return ready && state !== "suspect" && (whereabouts === "here" || whereabouts === "leaving");
}

function usefulness(one: PlannedProcess): number {
  if (one.nodeId === undefined) return 0;
  if (one.whereabouts === "lost") return 1;
  if (isServing(one)) return 5;
  if (one.whereabouts === "away") return one.ready ? 4 : 2;
  return 3;
}

function newestFirst(left: PlannedProcess, right: PlannedProcess): number {
  if (left.createdAt !== right.createdAt) return left.createdAt < right.createdAt ? 1 : -1;
  return left.id < right.id ? 1 : -1;
}

function stop({ id: processId }: PlannedProcess, reason: StopReason): Action {
  return { kind: "stop", processId, reason };
}

function forget({ id: processId }: PlannedProcess): Action {
  return { kind: "forget", processId };
}
