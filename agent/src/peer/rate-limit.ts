import { setTimeout as delay } from "node:timers/promises";

import type { Clock } from "../clock.ts";

/** Shorter waits are saved up: timers are no finer. */
const WAIT_MS_MIN = 5;
/** A clock that was set back holds nobody up for longer. */
const WAIT_MS_MAX = 1000;

/** Lets so many bytes a second pass, of all callers together. Resolves when the caller may send. */
export function createRateLimit(
  bytesPerSecond: number,
  clock: Clock,
): (bytes: number) => Promise<void> {
  let freeAtMs = 0;
  return async (bytes) => {
    const nowMs = clock();
    freeAtMs = Math.min(Math.max(freeAtMs, nowMs), nowMs + WAIT_MS_MAX);
    const waitMs = freeAtMs - nowMs;
    freeAtMs += (1000 * bytes) / bytesPerSecond;
    if (waitMs >= WAIT_MS_MIN) await delay(waitMs);
  };
}
