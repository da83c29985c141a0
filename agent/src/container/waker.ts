/** A wish to look again that is never lost: a wake before the wait ends the wait at once. */
export type Waker = {
  readonly wake: () => void;
  /** Resolves at the next wake, or after `ms`. */
  readonly wait: (ms?: number) => Promise<void>;
};

/** Node's timers overflow beyond it; waking early only means looking again. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export function createWaker(): Waker {
  let isAwake = false;
  let resume: (() => void) | undefined;
  return {
    wake: () => {
      isAwake = true;
      resume?.();
    },
    wait: async (ms) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = ms === undefined ? undefined : setTimeout(resolve, Math.min(ms, TIMER_MS_MAX));
      if (isAwake) resolve();
      resume = resolve;
      await promise;
      clearTimeout(timer);
      resume = undefined;
      isAwake = false;
    },
  };
}
