/** Rule 14: whom to ask for nodes, and whom to leave alone for a while. */
import { shareOf } from "./bins.ts";
import type { Group, L2Situation, L2State, Offer, PartitionPolicy } from "./model.ts";

/** Notes a failure of a provider: it is left alone, twice as long each time. */
export function providerFailed(
  state: L2State,
  provider: string,
  { policy, now }: { readonly policy: PartitionPolicy; readonly now: number },
): L2State {
  const failures = (state.backOff[provider]?.failures ?? 0) + 1;
  const { first, max } = policy.backOff;
  // The exponent is bounded so that many failures do not overflow.
  const until = now + Math.min(max, first * 2 ** Math.min(failures - 1, 30));
  return { ...state, backOff: { ...state.backOff, [provider]: { failures, until } } };
}

/** A node of the provider has joined: it works. */
export function providerWorked(state: L2State, provider: string): L2State {
  const { [provider]: _worked, ...backOff } = state.backOff;
  return { ...state, backOff };
}

/** Offers that may be used now, in the order in which to use them, with the nodes that each may still have. */
export function usableOffers(
  situation: L2Situation,
  remainder: readonly Group[],
): readonly UsableOffer[] {
  const { policy, offers, nodes, state, now } = situation;
  const usable = offers.flatMap((offer) => {
    const used = nodes.filter(
      (node) => node.offer === offer.key && node.status !== "deleting",
    ).length;
    const left = offer.maxNodes - used;
    const resting = (state.backOff[offer.provider]?.until ?? 0) > now;
    return resting || left <= 0 ? [] : [{ offer, left }];
  });
  switch (policy.order) {
    case "one-after-another":
      return usable;
    case "round-robin": {
      const turn = usable.length === 0 ? 0 : state.turn % usable.length;
      return [...usable.slice(turn), ...usable.slice(0, turn)];
    }
    case "cheapest":
      return usable.toSorted((a, b) => costOf(a.offer, remainder) - costOf(b.offer, remainder));
    default:
      return policy.order satisfies never;
  }
}

export type UsableOffer = { readonly offer: Offer; readonly left: number };

/** Price of enough nodes for the remainder, were it a liquid: flavors of different sizes can be compared. */
function costOf({ capacity, price }: Offer, remainder: readonly Group[]): number {
  const nodes = remainder.reduce(
    (total, { size, count }) => total + count * shareOf(size, capacity),
    0,
  );
  return price * Math.max(1, nodes);
}
