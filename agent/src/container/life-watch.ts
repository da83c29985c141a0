import { createLifeCheck, type ProcessIdentity } from "../host/process-table.ts";

export type LifeWatch = {
  /** Asked at every look; undefined for a process that was gone before it could be named. */
  readonly process: () => ProcessIdentity | undefined;
  /** Called at every look at which it is not there. */
  readonly onGone: () => void;
};

/** How often every watched process is looked at. */
const LOOK_MS = 500;

/** One timer for all: one each would wake the agent a thousand times a second on a node with hundreds of processes. */
const looks = new Set<() => void>();
let timer: NodeJS.Timeout | undefined;

/** Looks until the returned function is called. */
export function watchLife({ process, onGone }: LifeWatch): () => void {
  const isThere = createLifeCheck();
  const look = (): void => {
    const identity = process();
    if (identity === undefined || !isThere(identity)) onGone();
  };
  looks.add(look);
  timer ??= setInterval(() => {
    for (const next of looks) next();
  }, LOOK_MS).unref();
  return () => {
    looks.delete(look);
    if (looks.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}
