import { setTimeout as delay } from "node:timers/promises";

export type RetryPolicy = {
  /** Tries in all, the first included. */
  readonly attemptsMax: number;
  /** Pause after the first failure; it doubles up to `delayMaxMs`. */
  readonly delayMs: number;
  readonly delayMaxMs: number;
};

export const defaultRetryPolicy: RetryPolicy = { attemptsMax: 6, delayMs: 200, delayMaxMs: 5000 };

/** Pauses after failure number `failures` (from 1). Rejects when `signal` aborts. */
export async function pause(
  policy: RetryPolicy,
  failures: number,
  signal: AbortSignal,
): Promise<void> {
  const wait = Math.min(policy.delayMaxMs, policy.delayMs * 2 ** (failures - 1));
  await delay(wait, undefined, { signal });
}
