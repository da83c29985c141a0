/** Which processes of a subscription that sleeps are frozen, and which are woken. Pure. */
import { isTerminal } from "@strata/protocol/agent/process-state";

import type { Action } from "./plan.ts";
import { isSettled, type PlannedProcess, type Wish } from "./planned-process.ts";

/** One step for each process that no other action is about: a freeze is announced, and ordered when no ingress has
 * anything for it any more. One that is not ready yet is waited for, or it would have its start before it when woken. */
export function planSleep(
  wish: Wish,
  processes: readonly PlannedProcess[],
  actions: readonly Action[],
): readonly Action[] {
  const busy = new Set(actions.flatMap((one) => ("processId" in one ? [one.processId] : [])));
  return processes.flatMap((one): readonly Action[] => {
    const { id: processId, sleep } = one;
    if (busy.has(processId) || one.desired === "stopped" || isTerminal(one.state)) return [];
    if (!wish.isAsleep || one.drain !== null)
      return sleep === null ? [] : [{ kind: "wake", processId }];
    if (sleep === null) return isSettled(wish, one) ? [{ kind: "announceFreeze", processId }] : [];
    return sleep.freeze === "announced" && sleep.isReleased ? [{ kind: "freeze", processId }] : [];
  });
}
