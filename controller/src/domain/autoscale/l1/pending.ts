/** Rule 9: one action in flight. A decision may raise a pending grow, never lower it. */
import type { History, PendingAction, ScalingPolicy } from "./model.ts";

/** The action that is still under way; null when it is done, was overtaken by hand, or took too long. */
export function stillPending(
  pending: PendingAction | null,
  history: History,
  { now, policy }: { readonly now: number; readonly policy: ScalingPolicy },
): PendingAction | null {
  if (pending === null || now - pending.since >= policy.actionTimeout) return null;
  if (history.current !== pending.to) return null;
  switch (pending.kind) {
    case "grow":
      return history.ready >= pending.to ? null : pending;
    case "shrink":
      return history.live <= pending.to && history.draining === 0 ? null : pending;
    default:
      return pending.kind satisfies never;
  }
}

/** What is pending after a decision. */
export function nextPending(
  pending: PendingAction | null,
  {
    current,
    desired,
    now,
  }: { readonly current: number; readonly desired: number; readonly now: number },
): PendingAction | null {
  if (desired === current) return pending;
  return { kind: desired > current ? "grow" : "shrink", to: desired, since: now };
}
