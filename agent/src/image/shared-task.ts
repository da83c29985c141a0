import { PullError } from "./errors.ts";

type Task<T> = { readonly result: Promise<T>; readonly abort: AbortController; waiting: number };

/** Work that several callers may want at the same time, by key: done once, and given up only when none is left.
 * A failure is not kept: the next caller tries again. */
export class SharedTasks<T> {
  readonly #tasks = new Map<string, Task<T>>();

  /** Joins the work under way for `key`, or starts it. The signal ends this caller's waiting.
   * @throws PullError PULL_ABORTED, and what the work throws */
  async run(
    key: string,
    signal: AbortSignal,
    start: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (signal.aborted) throw aborted(key, signal.reason);
    const task = this.#tasks.get(key) ?? this.#start(key, start);
    task.waiting += 1;
    const { promise, reject } = Promise.withResolvers<never>();
    const leave = (): void => reject(aborted(key, signal.reason));
    signal.addEventListener("abort", leave, { once: true });
    try {
      return await Promise.race([task.result, promise]);
    } finally {
      signal.removeEventListener("abort", leave);
      task.waiting -= 1;
      if (task.waiting === 0) {
        // The next caller must not join work that is being given up.
        if (this.#tasks.get(key) === task) this.#tasks.delete(key);
        task.abort.abort();
        // Whoever was the last to wait is told when nothing is at work any more.
        await task.result.catch(() => undefined);
      }
    }
  }

  /** Keys of the work under way. */
  keys(): readonly string[] {
    return [...this.#tasks.keys()];
  }

  #start(key: string, start: (signal: AbortSignal) => Promise<T>): Task<T> {
    const abort = new AbortController();
    const task = { result: start(abort.signal), abort, waiting: 0 };
    // Every caller may have left before it fails.
    task.result.catch(() => undefined);
    this.#tasks.set(key, task);
    return task;
  }
}

function aborted(key: string, cause: unknown): PullError {
  return new PullError("PULL_ABORTED", `the wait for ${key} was given up`, { cause });
}
