/** A roll-out that stops on its way, for a canary or because it is paused, as two parts that are planned one after the
 * other: the older processes, and those of the newest generation. Pure. */
import { isTerminal } from "@strata/protocol/agent/process-state";

import {
  type Hold,
  isBlocked,
  isServing,
  isSettled,
  type PlannedProcess,
  type Wish,
} from "./planned-process.ts";

/** What is measured against a wish of its own. */
type Part = {
  readonly wish: Wish;
  readonly processes: readonly PlannedProcess[];
  readonly room: Room;
};

/** How many of a part there may be, and have to be. */
export type Room = {
  readonly livingMax: number;
  /** What drains stands in the way of others, but not of these. */
  readonly livingMin: number;
  /** Those of the other part that drain. */
  readonly drainingBeside: number;
  /** So many of these have to serve, those included that drain; 0 and less is none. */
  readonly servingMin: number;
};

type Parts = {
  readonly older: Part;
  /** The older ones are planned first, for they serve: what that leaves for the newest. */
  readonly newest: (first: {
    readonly created: number;
    /** What becomes of an older one; nothing of one that is stopped. */
    readonly after: (one: PlannedProcess) => readonly PlannedProcess[];
  }) => Part;
};

/** The older ones make way as the newest become ready, or beforehand as far as fewer may serve. */
export function divide(wish: Wish, hold: Hold, processes: readonly PlannedProcess[]): Parts {
  const ours = processes.filter(({ generation }) => generation === wish.generation);
  const theirs = processes
    .filter(({ generation }) => generation !== wish.generation)
    // Whichever they are of, they may stay.
    .map((one): PlannedProcess => ({ ...one, generation: hold.base }));
  const { unavailable, held } = wish;
  const living = (some: readonly PlannedProcess[]): number =>
    some.filter((one) => isLiving(one, held)).length;
  const wanted = Math.min(hold.newest, wish.count);
  const settled = ours.filter((one) => isWanted(one) && isSettled(wish, one)).length;
  const isStuck = ours.some((one) => isWanted(one) && isBlocked(one));
  // One of them gives way to a newest that finds no room.
  const given = Math.min(wanted, settled + Math.max(unavailable, isStuck ? 1 : 0));
  const rest = wish.count - given;
  const floor = wish.count - unavailable;
  const part = { ...wish, hold: null, resizable: none };
  return {
    older: {
      processes: isStuck ? theirs.map(patient) : theirs,
      room: {
        ...roomBeside(wish, living(ours), ours),
        servingMin: floor - Math.min(wanted, settled),
      },
      wish: {
        ...part,
        count: rest,
        generation: hold.base,
        unavailable: between(Math.min(wanted, settled) + rest - floor, rest),
      },
    },
    newest: ({ created, after }) => {
      const left = theirs.flatMap(after);
      const serving = left.filter((one) => isWanted(one) && isServing(one)).length;
      const ownServing = ours.filter((one) => isWanted(one) && isServing(one)).length;
      // Too many of them stay as long as too few of the older ones serve.
      const count = Math.max(wanted, Math.min(ownServing, floor - serving));
      return {
        processes: serving + ownServing < floor ? ours.map(patient) : ours,
        room: {
          ...roomBeside(wish, living(left) + created, left),
          servingMin: floor - serving,
        },
        wish: { ...part, count, unavailable: between(serving + count - floor, count) },
      };
    },
  };
}

/** What a part may have beside so many living ones of the other. */
function roomBeside(
  wish: Wish,
  living: number,
  others: readonly PlannedProcess[],
): Omit<Room, "servingMin"> {
  return {
    livingMax: wish.count + wish.surge - living,
    livingMin: wish.count - wish.unavailable - living,
    drainingBeside: others.filter(isDraining).length,
  };
}

const none: ReadonlySet<string> = new Set();

/** Nothing gives way to it. */
function patient(one: PlannedProcess): PlannedProcess {
  return isBlocked(one) ? { ...one, whereabouts: "unplaced" } : one;
}

function isWanted({ desired, drain }: PlannedProcess): boolean {
  return desired === "running" && drain === null;
}

function isDraining({ desired, drain }: PlannedProcess): boolean {
  return desired === "running" && drain !== null;
}

function isLiving(one: PlannedProcess, held: boolean): boolean {
  return isWanted(one) && !isTerminal(one.state) && (one.whereabouts !== "lost" || held);
}

function between(value: number, max: number): number {
  return Math.max(0, Math.min(value, max));
}
