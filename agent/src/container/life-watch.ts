import { createLifeCheck, type ProcessIdentity } from "../host/process-table.ts";

export type LifeWatch = {
  /** Asked at every look; undefined for a process that was gone before it could be named. */
  readonly process: () => ProcessIdentity | undefined;
  readonly everyMs: number;
  /** Called at every look at which it is not there. */
  readonly onGone: () => void;
};

/** Looks until the returned function is called. */
export function watchLife({ process, everyMs, onGone }: LifeWatch): () => void {
  const isThere = createLifeCheck();
  const timer = setInterval(() => {
    const identity = process();
    if (identity === undefined || !isThere(identity)) onGone();
  }, everyMs);
  return () => clearInterval(timer);
}
