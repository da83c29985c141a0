/** Rules 2 and 3: from a load to a number of processes.
 *
 * Additive signals need `sum / target`; utilisation signals `ready * average / target`, and `ready * average` is
 * again a sum. So one formula serves both. */
import { ceilCount } from "../statistics.ts";
import type { ScalingPolicy } from "./model.ts";
import type { WindowLoad } from "./windows.ts";

/** Grows when the load is too high although missing processes carry nothing, shrinks when it is too low although
 * they carry their full target, and otherwise holds: the damping of rule 3 can never turn the direction. */
export function needOf(
  load: WindowLoad,
  {
    target,
    current,
    tolerance,
  }: {
    readonly target: number;
    readonly current: number;
    readonly tolerance: ScalingPolicy["tolerance"];
  },
): number {
  const capacity = current * target;
  if (load.grow > capacity * (1 + tolerance.up)) return ceilCount(load.grow / target);
  if (load.shrink < capacity * (1 - tolerance.down)) return ceilCount(load.shrink / target);
  return current;
}
