/** Rule 12: the same decisions again, from what was stored with them. */
import { decide } from "./decide.ts";
import type { History, L1Decision, L1State, ScalingPolicy } from "./model.ts";

export type RecordedStep = { readonly now: number; readonly history: History };

/** Decides for every step as it was live. With the policy and the first state of the live run, the decisions are
 * exactly the live ones; with another policy they say what it would have wished for at each moment. */
export function replay(
  policy: ScalingPolicy,
  steps: readonly RecordedStep[],
  initial: L1State,
): readonly L1Decision[] {
  const decisions: L1Decision[] = [];
  let state = initial;
  for (const { now, history } of steps) {
    const decision = decide({ policy, history, state, now });
    decisions.push(decision);
    state = decision.state;
  }
  return decisions;
}
