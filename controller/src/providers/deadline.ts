import { ProviderError } from "./errors.ts";

export type Deadline = {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** What is being done, for the message. */
  readonly what: string;
};

/** Runs work under a signal that is aborted with the caller's, and when the time is over.
 * @throws ProviderError PROVIDER_TIMEOUT, and the reason of the caller's signal, whatever the work made of them. */
export async function withDeadline<Result>(
  { signal, timeoutMs, what }: Deadline,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  signal.throwIfAborted();
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    return await work(AbortSignal.any([signal, timeout]));
  } catch (cause) {
    signal.throwIfAborted();
    if (!timeout.aborted) throw cause;
    throw new ProviderError("PROVIDER_TIMEOUT", `${what} was not done in ${timeoutMs} ms`, {
      cause,
    });
  }
}
