/** How long a request to a subscription that sleeps takes, from its first byte to the end of its answer. */
export type Sleeper = {
  /** Resolves when the subscription sleeps, and nothing is on its way any more. */
  readonly untilAsleep: () => Promise<void>;
  /** Asks once, by way of the ingress. @throws Error when the answer is not the application's */
  readonly ask: () => Promise<void>;
};

/** Milliseconds of so many wakes, one after the other. */
export async function measureWakes(sleeper: Sleeper, wakes: number): Promise<readonly number[]> {
  const took: number[] = [];
  for (let count = 0; count < wakes; count += 1) {
    await sleeper.untilAsleep();
    const beganMs = performance.now();
    await sleeper.ask();
    took.push(performance.now() - beganMs);
  }
  return took;
}
