import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 100;

export type WaitOptions = {
  readonly timeoutMs: number;
  /** When it says true there is nothing more to wait for. */
  readonly giveUp?: () => Promise<boolean>;
};

/** Asks again until the answer is not undefined; undefined when it never was. */
export async function waitFor<Value>(
  ask: () => Promise<Value | undefined>,
  { timeoutMs, giveUp }: WaitOptions,
): Promise<Value | undefined> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined || performance.now() > deadline) return answer;
    if ((await giveUp?.()) === true) return undefined;
    await delay(POLL_MS);
  }
}
