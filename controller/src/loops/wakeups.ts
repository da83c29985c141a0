export type Wake = "woken" | "let-go";

/** Lets somebody wait until somebody else says that a thing has changed. The waker says no more than that: who is
 * woken looks for himself. */
export type Wakeups = {
  /** Resolves with "woken" when `key` is woken, and with "let-go" after `timeoutMs`, when `signal` aborts, at the end,
   * or for the longest waiting one where more than `waitersMax` wait for one key. Never rejects. */
  readonly wait: (
    key: string,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ) => Promise<Wake>;
  readonly wake: (key: string) => void;
  /** Lets everybody go, for good: later waits end at once. */
  readonly close: () => void;
};

export function createWakeups(waitersMax: number): Wakeups {
  const waiters = new Map<string, Set<(wake: Wake) => void>>();
  let closed = false;
  const release = (key: string, why: Wake): void => {
    const woken = waiters.get(key);
    waiters.delete(key);
    for (const resolve of woken ?? []) resolve(why);
  };
  return {
    wait: async (key, { timeoutMs, signal }) => {
      if (closed || signal?.aborted === true) return "let-go";
      const { promise, resolve } = Promise.withResolvers<Wake>();
      const letGo = (): void => resolve("let-go");
      const others = waiters.get(key) ?? new Set();
      waiters.set(key, others);
      const [longest] = others;
      if (longest !== undefined && others.size >= waitersMax) {
        others.delete(longest);
        longest("let-go");
      }
      others.add(resolve);
      const timer = setTimeout(letGo, timeoutMs);
      signal?.addEventListener("abort", letGo, { once: true });
      const why = await promise;
      signal?.removeEventListener("abort", letGo);
      clearTimeout(timer);
      others.delete(resolve);
      if (others.size === 0 && waiters.get(key) === others) waiters.delete(key);
      return why;
    },
    wake: (key) => release(key, "woken"),
    close: () => {
      closed = true;
      for (const key of waiters.keys()) release(key, "let-go");
    },
  };
}

/** Asks a loop to look that is started last: until it is set nobody is woken. */
export type LoopWake = {
  readonly set: (wake: () => void) => void;
  readonly soon: () => void;
  /** Somebody waits for what comes of it: the loop does not rest before that. */
  readonly now: () => void;
  /** Whether somebody has waited since this was asked last. */
  readonly takeUrgency: () => boolean;
};

export function createLoopWake(): LoopWake {
  let wake = (): void => undefined;
  let isUrgent = false;
  return {
    set: (started) => {
      wake = started;
    },
    soon: () => wake(),
    now: () => {
      isUrgent = true;
      wake();
    },
    takeUrgency: () => {
      const was = isUrgent;
      isUrgent = false;
      return was;
    },
  };
}
