/** How often somebody may do something: a bucket that holds a minute's worth and is filled evenly. Pure but for what it
 * remembers, which is bounded. */

export type RateState = {
  readonly isAllowed: boolean;
  /** A minute's worth. */
  readonly limit: number;
  /** What is left now. */
  readonly remaining: number;
  /** Whole seconds until one more is allowed (when it is not), or until the bucket is full again. */
  readonly resetSeconds: number;
};

export type RateLimiter = {
  /** Takes one out of the bucket of `key`, if there is one. A refusal costs nothing. */
  readonly take: (key: string, perMinute: number) => RateState;
};

type Bucket = { readonly level: number; readonly atMs: number };

/** @param keysMax buckets remembered; the one that was used the longest ago is forgotten, and so full again */
export function createRateLimiter({
  monotonicMs,
  keysMax,
}: {
  readonly monotonicMs: () => number;
  readonly keysMax: number;
}): RateLimiter {
  const buckets = new Map<string, Bucket>();
  return {
    take: (key, perMinute) => {
      const now = monotonicMs();
      const perMs = perMinute / 60_000;
      const known = buckets.get(key) ?? { level: perMinute, atMs: now };
      const level = Math.min(perMinute, known.level + (now - known.atMs) * perMs);
      const isAllowed = level >= 1;
      const left = isAllowed ? level - 1 : level;
      buckets.delete(key);
      buckets.set(key, { level: left, atMs: now });
      forgetOldest(buckets, keysMax);
      const missing = isAllowed ? perMinute - left : 1 - left;
      return {
        isAllowed,
        limit: perMinute,
        remaining: Math.floor(left),
        resetSeconds: Math.ceil(missing / perMs / 1000),
      };
    },
  };
}

function forgetOldest(buckets: Map<string, Bucket>, keysMax: number): void {
  const oldest = buckets.keys().next();
  if (buckets.size > keysMax && oldest.done !== true) buckets.delete(oldest.value);
}
