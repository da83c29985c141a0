import { setTimeout as delay } from "node:timers/promises";

export type WaitOptions = {
  readonly timeoutMs: number;
  /** Between two questions [100 ms]. */
  readonly pollMs?: number;
  /** When it says true there is nothing more to wait for. */
  readonly giveUp?: () => Promise<boolean>;
};

/** Asks again until the answer is not undefined; undefined when it never was. */
export async function waitFor<Value>(
  ask: () => Promise<Value | undefined>,
  { timeoutMs, pollMs = 100, giveUp }: WaitOptions,
): Promise<Value | undefined> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined || performance.now() > deadline) return answer;
    if ((await giveUp?.()) === true) return undefined;
    await delay(pollMs);
  }
}
