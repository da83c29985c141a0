import type { Exit } from "@strata/protocol/agent/messages";

import { formatTime } from "../clock.ts";

const SIGNAL_BASE = 128;
const SIGNALS_MAX = 64;
const KILLED = SIGNAL_BASE + 9;

export type ObservedEnd = {
  /** Undefined when the supervisor was killed before it could note one. */
  readonly code: number | undefined;
  /** Asked of an application that was killed by somebody else. */
  readonly wasOutOfMemory: () => boolean;
  /** We sent the KILL ourselves. */
  readonly wasKilled: boolean;
  readonly atMs: number;
};

/** How a run ended, as the controller wants to know it. Pure. */
export function describeExit({ code, wasOutOfMemory, wasKilled, atMs }: ObservedEnd): Exit {
  const at = formatTime(atMs);
  // LXC says 1 when its own first process is killed, which is how we kill all of a container at once.
  if (wasKilled && (code === undefined || code === 1))
    return { code: KILLED, reason: "signaled", at };
  if (code === undefined) return { code: KILLED, reason: "unknown", at };
  if (code === KILLED && !wasKilled && wasOutOfMemory())
    return { code, reason: "out-of-memory", at };
  const isSignal = code > SIGNAL_BASE && code <= SIGNAL_BASE + SIGNALS_MAX;
  return { code, reason: isSignal ? "signaled" : "exited", at };
}
