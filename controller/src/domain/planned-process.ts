/** A process as the planner sees it, and the wish that it is measured against. */
import type { ProcessState } from "@strata/protocol/agent/process-state";

/** Where a process is, as far as planning goes:
 * unplaced  waits for a node, or for something else that is no question of room
 * blocked   waits, and the scheduler found no node that has room
 * here      on a node that may keep it
 * leaving   on a node that it moves away from: the node is drained, or another is better
 * evicted   on a node whose drain has come to its deadline: it goes now, replaced or not
 * away      on a silent node, for less than the subscription's `lostAfter`
 * lost      on a node that has been silent for longer */
export type Whereabouts = "unplaced" | "blocked" | "here" | "leaving" | "evicted" | "away" | "lost";

export type PlannedProcess = {
  readonly id: string;
  readonly generation: number;
  readonly desired: "running" | "stopped";
  readonly state: ProcessState;
  readonly ready: boolean;
  /** For how long it has been ready without a crash; 0 when it is not. */
  readonly readyMs: number;
  readonly whereabouts: Whereabouts;
  readonly nodeId: string | undefined;
  readonly attempt: number;
  /** Since the last change of `state`. */
  readonly inStateMs: number;
  /** RFC 3339; with the id it makes an order. */
  readonly createdAt: string;
  /** Somebody who knows of it may come while it is being stopped: it has ports, or an ingress leads to it. */
  readonly mayBeAsked: boolean;
  /** It finishes what it has in flight and gets nothing new; null when it is wanted. */
  readonly drain: Drain | null;
  readonly sleep: Sleep | null;
  /** What it carries; in flight undefined where nobody knows. */
  readonly load: { readonly inFlight: number | undefined; readonly cpuPercent: number };
};

export type Drain = {
  /** Milliseconds since 1970: when it is stopped whatever is in flight. */
  readonly deadline: number;
  /** That is past, or its notice is and nothing is in flight. */
  readonly isOver: boolean;
};

/** Of a process whose subscription sleeps frozen. One that is frozen counts as ready: it answers once it is woken. */
export type Sleep = {
  readonly freeze: "announced" | "ordered";
  /** No ingress sends it anything, and none waits for an answer of it. */
  readonly isReleased: boolean;
};

export type Wish = {
  readonly count: number;
  /** What there is of it shall be frozen. */
  readonly isAsleep: boolean;
  readonly generation: number;
  /** So many more than `count` may live while some are replaced, and so many fewer may serve. Never both 0. */
  readonly surge: number;
  readonly unavailable: number;
  /** A replacement counts once it was ready for so long. */
  readonly minReadyMs: number;
  /** Where the roll-out of the generation stops for now; null lets it go on to its end. */
  readonly hold: Hold | null;
  /** Nodes are silent in such number that the fault is taken for ours: lost processes get no replacement. */
  readonly held: boolean;
  /** Whether one that goes may first finish what it has in flight; else it is stopped at once. */
  readonly drains: boolean;
  /** All processes of each node, of whichever subscription. */
  readonly processesOnNode: Readonly<Record<string, number>>;
  /** Of an older generation, and can go on with the limits of this one where they are. */
  readonly resizable: ReadonlySet<string>;
};

export type Hold = {
  /** So many processes are of the wish's generation, and the rest of `count` is older. */
  readonly newest: number;
  /** What one of the rest is replaced by when it is lost or fails. */
  readonly base: number;
};

export function isOutdated(wish: Wish, { id, generation }: PlannedProcess): boolean {
  return generation !== wish.generation && !wish.resizable.has(id);
}

/** It waits for room. */
export function isBlocked({ whereabouts }: Pick<PlannedProcess, "whereabouts">): boolean {
  return whereabouts === "blocked";
}

/** It can do work now. */
export function isServing({ ready, whereabouts, state }: PlannedProcess): boolean {
  return ready && state === "running" && (whereabouts === "here" || whereabouts === "leaving");
}

/** It can do work, and has done so for long enough to be relied on. */
export function isSettled({ minReadyMs }: Pick<Wish, "minReadyMs">, one: PlannedProcess): boolean {
  return isServing(one) && one.readyMs >= minReadyMs;
}
