/** Rule 7: the bounds that hold now. */
import { isActive } from "@strata/protocol/api/schedules";

import type { ScalingPolicy } from "./model.ts";

export type Bounds = {
  readonly min: number;
  readonly max: number;
  /** Positions in the policy of the schedules that are active. */
  readonly schedules: readonly number[];
  /** The highest initial minimum of the schedules that have just begun; 0 for none. */
  readonly initialMin: number;
};

/** Highest min and lowest max of the active schedules; the policy's own where none says one. A policy that was
 * accepted cannot have min above max at any time. */
export function boundsAt(
  policy: ScalingPolicy,
  activeBefore: readonly number[],
  now: number,
): Bounds {
  const schedules = policy.schedules.flatMap((schedule, index) =>
    isActive(schedule, now) ? [index] : [],
  );
  const active = schedules.flatMap((index) => policy.schedules[index] ?? []);
  const mins = active.flatMap(({ min }) => min ?? []);
  const maxes = active.flatMap(({ max }) => max ?? []);
  const initial = schedules
    .filter((index) => !activeBefore.includes(index))
    .map((index) => policy.schedules[index]?.initialMin ?? 0);
  return {
    min: mins.length > 0 ? Math.max(...mins) : policy.min,
    max: maxes.length > 0 ? Math.min(...maxes) : policy.max,
    schedules,
    initialMin: Math.max(0, ...initial),
  };
}
