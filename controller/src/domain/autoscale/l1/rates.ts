/** Rule 9, second half: how much may change in a period. */
import type { L1State, ScalingPolicy } from "./model.ts";

type Changes = L1State["changes"];
type Rate = ScalingPolicy["rates"]["grow"];

/** The highest and the lowest count that may be wished for now. */
export function rateBounds(
  changes: Changes,
  current: number,
  { now, policy }: { readonly now: number; readonly policy: ScalingPolicy },
): { readonly highest: number; readonly lowest: number } {
  const { grow, shrink } = policy.rates;
  const growBase = countAt(changes, current, now - grow.period);
  const shrinkBase = countAt(changes, current, now - shrink.period);
  return {
    highest: Math.max(current, growBase + stepOf(grow, growBase)),
    lowest: Math.min(current, Math.max(0, shrinkBase - stepOf(shrink, shrinkBase))),
  };
}

export function recordChange(
  changes: Changes,
  delta: number,
  { now, policy }: { readonly now: number; readonly policy: ScalingPolicy },
): Changes {
  const { grow, shrink } = policy.rates;
  const since = now - Math.max(grow.period, shrink.period);
  const recent = changes.filter(({ at }) => at > since);
  return delta === 0 ? recent : [...recent, { at: now, delta }];
}

/** The count when the period began: what has changed since is taken back. */
function countAt(changes: Changes, current: number, since: number): number {
  return changes.reduce((count, { at, delta }) => (at > since ? count - delta : count), current);
}

function stepOf({ processes, percent }: Rate, base: number): number {
  return Math.max(processes, Math.floor((base * percent) / 100));
}
