/** Rule 13, second half: how many nodes of which offer hold the remainder, in one step. */
import { type Bin, createBin, type Packing, packingOf, permits, roomFor, termsOf } from "./bins.ts";
import type { Group, L2Action, L2Situation } from "./model.ts";
import { usableOffers, type UsableOffer } from "./offers.ts";
import { pack } from "./pack.ts";

export type Additions = {
  readonly actions: readonly Extract<L2Action, { readonly kind: "add" }>[];
  readonly count: number;
  /** What no offer can hold, or the policy's limits leave out. */
  readonly unplaceable: readonly Group[];
};

type Opening = {
  readonly situation: L2Situation;
  readonly packing: Packing;
  readonly usable: { readonly offer: UsableOffer["offer"]; left: number }[];
  /** Already packed; they only count for how a subscription is spread over zones. */
  readonly existing: readonly Bin[];
  readonly opened: Bin[];
  readonly counts: Map<string, number>;
};

/** @param bins the nodes that are there, already packed
 * @param present nodes that there are or will be, without those on their way out */
export function planAdditions(
  situation: L2Situation,
  remainder: readonly Group[],
  { bins, present }: { readonly bins: readonly Bin[]; readonly present: number },
): Additions {
  const { policy } = situation;
  const opening: Opening = {
    situation,
    packing: packingOf(situation),
    usable: usableOffers(situation, remainder).map(({ offer, left }) => ({ offer, left })),
    existing: bins,
    opened: [],
    counts: new Map(),
  };
  const most = Math.max(0, policy.maxNodes - present);
  const unplaceable = remainder.flatMap((group) => openForGroup(group, opening, most));
  while (opening.opened.length < Math.min(most, policy.minNodes - present)) {
    if (openNode(undefined, opening) === undefined) break;
  }
  const actions = [...opening.counts].map(
    ([offer, count]) => ({ kind: "add", offer, count }) as const,
  );
  return { actions, count: opening.opened.length, unplaceable };
}

/** Opens nodes until the group is placed; gives back what is left of it when no more can be opened. */
function openForGroup(group: Group, opening: Opening, most: number): readonly Group[] {
  const { packing } = opening;
  const { zones } = termsOf(group, packing).apart;
  // Zones are weighed against all nodes; otherwise only the newest can have room left.
  const whole = zones !== "none";
  let { left } = pack(
    [group],
    whole ? [...opening.existing, ...opening.opened] : opening.opened,
    packing,
  );
  for (let rest = left[0]; rest !== undefined && opening.opened.length < most; rest = left[0]) {
    const entry = openNode(rest, opening);
    if (entry === undefined) break;
    left = pack(
      left,
      whole ? [...opening.existing, ...opening.opened] : opening.opened.slice(-1),
      packing,
    ).left;
    if (left[0]?.count !== rest.count) continue;
    // A zone that must come first has no room and no offer left: more nodes elsewhere would stay empty.
    closeNode(entry, opening);
    break;
  }
  return left;
}

/** Opens one node of the best offer that could hold a process of the group, if there is one. */
function openNode(
  group: Group | undefined,
  opening: Opening,
): Opening["usable"][number] | undefined {
  const { usable, opened, counts, situation } = opening;
  const fitting = usable.filter(({ offer, left }) => left > 0 && couldHold(offer, group, opening));
  const { order } = situation.policy;
  const entry = fitting[order === "round-robin" ? opened.length % Math.max(1, fitting.length) : 0];
  if (entry === undefined) return undefined;
  const { key } = entry.offer;
  entry.left -= 1;
  opened.push(createBin({ ...entry.offer, id: `new-${opened.length}`, held: [], ready: false }));
  counts.set(key, (counts.get(key) ?? 0) + 1);
  return entry;
}

/** Takes the newest, which is empty, back. */
function closeNode(entry: Opening["usable"][number], { opened, counts }: Opening): void {
  const { key } = entry.offer;
  entry.left += 1;
  opened.pop();
  const count = (counts.get(key) ?? 0) - 1;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}

function couldHold(
  offer: UsableOffer["offer"],
  group: Group | undefined,
  opening: Opening,
): boolean {
  if (group === undefined) return true;
  const terms = termsOf(group, opening.packing);
  const empty = createBin({ ...offer, id: "", held: [], ready: false });
  if (roomFor(empty, terms) === 0) return false;
  if (terms.apart.zones === "none") return true;
  // Only a node in the zone that has fewest of the subscription helps to spread it.
  const zones = new Map<string | null, number>();
  for (const entry of opening.usable)
    if (permits(entry.offer, group.rule)) zones.set(entry.offer.zone, 0);
  const bins = [...opening.existing, ...opening.opened];
  for (const bin of bins) if (permits(bin, group.rule)) zones.set(bin.zone, 0);
  for (const { zone, counts } of bins) {
    const before = zones.get(zone);
    if (before !== undefined) zones.set(zone, before + (counts.get(group.subscription) ?? 0));
  }
  const least = Math.min(...zones.values());
  return terms.apart.zones === "prefer" || zones.get(offer.zone) === least;
}
