/** The one way to write a test. Wraps uvu, which alone exits 0 when `run()` is forgotten and knows no time limit.
 * There are no hooks: a fixture is `await using` in the body. */
import { suite as uvuSuite } from "uvu";
import * as assert from "uvu/assert";

export { assert };

const TIMEOUT_MS = 60_000;

export type Test = {
  (
    title: string,
    body: () => void | Promise<void>,
    options?: { readonly timeoutMs?: number },
  ): void;
  /** Says in the output what was not checked, and why. Counted as skipped. */
  readonly skip: (title: string, reason: string) => void;
};

/** Defines and runs a suite. Each test fails after `timeoutMs` [60 s]. */
export function suite(name: string, define: (test: Test) => void): void {
  const run = uvuSuite(name);
  const test = Object.assign(
    (title: string, body: () => void | Promise<void>, { timeoutMs = TIMEOUT_MS } = {}): void => {
      run(title, () => withDeadline(title, body, timeoutMs));
    },
    {
      skip: (title: string, reason: string): void => {
        console.log(`skipped: ${name}: ${title}: ${reason}`);
        run.skip(title, () => undefined);
      },
    },
  );
  define(test);
  run.run();
}

async function withDeadline(
  title: string,
  body: () => void | Promise<void>,
  timeoutMs: number,
): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`${title}: not done in ${timeoutMs} ms`)),
    timeoutMs,
  );
  try {
    await Promise.race([body(), promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Fails unless the promise rejects with an error of this `code`; gives back that error. */
export async function rejectsWithCode(promise: Promise<unknown>, code: string): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === code) return error;
    throw new Error(`rejected, but not with ${code}: ${String(error)}`, { cause: error });
  }
  throw new Error(`did not reject; expected ${code}`);
}

/** Fails unless the function throws an error of this `code`; gives back that error. */
export function throwsWithCode(body: () => unknown, code: string): Error {
  try {
    body();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === code) return error;
    throw new Error(`threw, but not ${code}: ${String(error)}`, { cause: error });
  }
  throw new Error(`did not throw; expected ${code}`);
}
