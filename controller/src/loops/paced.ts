const REST_MS_MAX = 1000;

export type Pace = {
  readonly monotonicMs: () => number;
  /** A rest after a tick is this many times as long as the tick took. */
  readonly restFactor: number;
  /** Asked once before each tick: true ends the rest [never]. */
  readonly isUrgent?: () => boolean;
};

/** A tick that is asked for far more often than it is needed: it rests in proportion to what it costs, so that in a
 * large installation it leaves the processor to others, and for a second at most, so that it is never late by more.
 * Both give the milliseconds until there is more to do. */
export function paced(
  tick: () => number,
  { monotonicMs, restFactor, isUrgent = () => false }: Pace,
): () => number {
  let readyAtMs = -Infinity;
  return () => {
    const startedMs = monotonicMs();
    if (!isUrgent() && startedMs < readyAtMs) return readyAtMs - startedMs;
    const nextMs = tick();
    const endedMs = monotonicMs();
    readyAtMs = endedMs + Math.min(REST_MS_MAX, restFactor * (endedMs - startedMs));
    return nextMs;
  };
}
