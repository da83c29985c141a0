/** Rules 4, 8, 9 and 11 as a chain: each limiter may change the count, and the trace says which did. */
import type { Bounds } from "./bounds.ts";
import type { Limit, Limiter, PendingAction } from "./model.ts";

export type Limits = {
  readonly current: number;
  readonly metricFailed: boolean;
  readonly stabilised: number;
  readonly panicking: boolean;
  readonly rollingOut: boolean;
  /** Zero is not allowed yet, or the subscription must wake. */
  readonly awake: boolean;
  readonly pending: PendingAction | null;
  readonly rate: { readonly highest: number; readonly lowest: number };
  readonly bounds: Bounds;
  readonly paused: boolean;
};

export type Limited = { readonly desired: number; readonly limits: readonly Limit[] };

/** Applies all limiters to a raw count. The bounds come last, so the result is always within them, unless the count
 * was set by hand: then nothing touches it. */
export function limit(raw: number, limits: Limits): Limited {
  const { current } = limits;
  if (limits.paused) {
    return {
      desired: current,
      limits: raw === current ? [] : [{ limiter: "paused", from: raw, to: current }],
    };
  }
  const bound: Limit[] = [];
  let count = raw;
  const apply = (limiter: Limiter, to: number): void => {
    if (to === count) return;
    bound.push({ limiter, from: count, to });
    count = to;
  };
  const neverShrinkIf = (condition: boolean, limiter: Limiter): void => {
    if (condition) apply(limiter, Math.max(count, current));
  };
  apply("stabilisation", limits.stabilised);
  neverShrinkIf(limits.metricFailed, "metric-failed");
  neverShrinkIf(limits.panicking, "panic");
  neverShrinkIf(limits.rollingOut, "rollout");
  if (limits.awake) apply("activation", Math.max(count, 1));
  neverShrinkIf(limits.pending?.kind === "grow", "pending-grow");
  neverShrinkIf(limits.pending?.kind === "shrink", "pending-shrink");
  apply("grow-rate", Math.min(count, limits.rate.highest));
  apply("shrink-rate", Math.max(count, limits.rate.lowest));
  apply(
    "min",
    Math.max(count, limits.bounds.min, Math.min(limits.bounds.initialMin, limits.bounds.max)),
  );
  apply("max", Math.min(count, limits.bounds.max));
  return { desired: count, limits: bound };
}
