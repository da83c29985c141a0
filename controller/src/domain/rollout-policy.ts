/** What a subscription's `rollout` comes to for a number of processes. Pure. */
import { type RolloutPolicy, RolloutPolicyInput } from "@strata/protocol/api/rollouts";

import type { Hold, Wish } from "./planned-process.ts";

/** For a subscription that says nothing of it. */
export const usualRollout: RolloutPolicy = RolloutPolicyInput.parse({});

/** How many more and how many fewer there may be. A share rounds up for what is added and down for what is missing, as
 * Kubernetes does it; where both come to nothing, one may be missing, or nothing could ever be replaced. */
export function roomOf(
  { maxSurge, maxUnavailable, minReady }: RolloutPolicy,
  count: number,
): Pick<Wish, "surge" | "unavailable" | "minReadyMs"> {
  const surge = Math.ceil(resolve(maxSurge, count));
  const unavailable = Math.floor(resolve(maxUnavailable, count));
  return {
    surge,
    unavailable: surge === 0 && unavailable === 0 ? 1 : unavailable,
    minReadyMs: minReady,
  };
}

/** How many canaries there are; 0 without. */
export function canariesOf({ canary = 0 }: RolloutPolicy, count: number): number {
  return Math.min(count, Math.ceil(resolve(canary, count)));
}

export type Held = {
  readonly isPromoted: boolean;
  /** Processes of the generation while it is paused; null when it is not. */
  readonly held: number | null;
  /** What is returned to in the meantime; null where nothing ran before, and nothing can be held. */
  readonly base: number | null;
};

/** Where the roll-out stops for now. */
export function holdOf(
  { isPromoted, held, base }: Held,
  policy: RolloutPolicy,
  count: number,
): Hold | null {
  if (base === null) return null;
  if (held !== null) return { newest: held, base };
  const canaries = canariesOf(policy, count);
  return isPromoted || canaries === 0 ? null : { newest: canaries, base };
}

function resolve(value: number | string, count: number): number {
  return typeof value === "number" ? value : (Number.parseInt(value, 10) * count) / 100;
}
