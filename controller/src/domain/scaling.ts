import type { ScalingPolicy } from "@strata/protocol/api/autoscale";

import { boundsAt } from "./autoscale/l1/bounds.ts";

/** Whether level 1 decides about the count; a policy without metrics and schedules only bounds it. */
export function isAutoscaled(policy: Pick<ScalingPolicy, "metrics" | "schedules">): boolean {
  return policy.metrics.length > 0 || policy.schedules.length > 0;
}

/** How many processes a subscription shall have: what is written down, within the policy's bounds. Level 1 has its own
 * bounds, which change with the time of day, and keeps to them itself. */
export function wishedProcesses(count: number, policy: ScalingPolicy | undefined): number {
  return policy === undefined || isAutoscaled(policy) ? count : clamp(count, policy);
}

/** More would only take room: one that wakes serves while others start. */
export const FROZEN_KEPT = 1;

/** Whether level 1 may send the last process away, so that a request has to bring one back. */
export function maySleep(policy: ScalingPolicy | undefined): boolean {
  if (policy === undefined || !isAutoscaled(policy)) return false;
  return policy.min === 0 || policy.schedules.some(({ min }) => min === 0);
}

/** Whether level 1 has put the subscription to sleep with a frozen process left of it. */
export function isAsleepFrozen(count: number, policy: ScalingPolicy | undefined): boolean {
  return count === 0 && policy?.sleep === "frozen" && isAutoscaled(policy);
}

/** A count brought within what the policy allows now. */
export function clampProcesses(
  count: number,
  policy: ScalingPolicy | undefined,
  now: number,
): number {
  return policy === undefined ? count : clamp(count, boundsAt(policy, [], now));
}

function clamp(
  count: number,
  { min, max }: { readonly min: number; readonly max: number },
): number {
  return Math.min(max, Math.max(min, count));
}
