/** Rule 17: better places for some processes when a node joins. Start before stop: each move is a new process on
 * `to`, and only when that is ready does one on `from` drain. */
import {
  type Bin,
  createBin,
  type Packing,
  packingOf,
  roomFor,
  take,
  type Terms,
  termsOf,
} from "./bins.ts";
import type { Held, NodeView, PartitionPolicy } from "./model.ts";

export type Move = { readonly subscription: string; readonly from: string; readonly to: string };

/** Moves to the joined node that put processes of one subscription further apart, at most `rebalanceMoves`. Without
 * a wish to keep them apart nothing moves: a full node is no fault. */
export function planRebalance(
  nodes: readonly NodeView[],
  joinedId: string,
  policy: PartitionPolicy,
): readonly Move[] {
  const packing = packingOf({ policy, offers: [] });
  const sizes = sizesOf(nodes, packing);
  if (sizes.size === 0) return [];
  const bins = nodes
    .filter(({ status }) => status === "ready")
    .map((node) => createBin({ ...node, ready: true }));
  const joined = bins.find(({ id }) => id === joinedId);
  if (joined === undefined) return [];
  const moves: Move[] = [];
  while (moves.length < packing.rebalanceMoves) {
    const best = bestMove(bins, { joined, sizes, packing });
    if (best === undefined) break;
    take(joined, best.held, 1);
    take(best.from, best.held, -1);
    moves.push({ subscription: best.held.subscription, from: best.from.id, to: joinedId });
  }
  return moves;
}

type Room = {
  readonly joined: Bin;
  readonly sizes: ReadonlyMap<string, Held>;
  readonly packing: Packing;
};

/** The subscription that sits closest together gains most: two on one node, or a zone that has two more. */
function bestMove(
  bins: readonly Bin[],
  { joined, sizes, packing }: Room,
): { readonly held: Held; readonly from: Bin } | undefined {
  let best: { readonly held: Held; readonly from: Bin; readonly gain: number } | undefined;
  for (const held of sizes.values()) {
    const terms = termsOf(held, packing);
    if (roomFor(joined, terms) === 0) continue;
    const zones = countZones(bins, held.subscription);
    for (const from of bins) {
      if (from === joined || (from.counts.get(held.subscription) ?? 0) === 0) continue;
      const gain = gainOf(terms, { from, to: joined, zones });
      if (gain > (best?.gain ?? 0)) best = { held, from, gain };
    }
  }
  return best;
}

type Zones = ReadonlyMap<string | null, number>;

function countZones(bins: readonly Bin[], subscription: string): Zones {
  const counts = new Map<string | null, number>();
  for (const { zone, counts: own } of bins)
    counts.set(zone, (counts.get(zone) ?? 0) + (own.get(subscription) ?? 0));
  return counts;
}

/** A move helps when the source keeps more than the target then has, and hurts when it keeps fewer: what is to be
 * apart in two ways must not be worse in either. */
function gainOf(
  { subscription, apart }: Terms,
  { from, to, zones }: { readonly from: Bin; readonly to: Bin; readonly zones: Zones },
): number {
  const on = (bin: Bin): number => bin.counts.get(subscription) ?? 0;
  const inZone = ({ zone }: Bin): number => zones.get(zone) ?? 0;
  const byNodes = apart.nodes === "none" ? 0 : on(from) - on(to) - 1;
  const isNear = apart.zones === "none" || from.zone === to.zone;
  const byZones = isNear ? 0 : inZone(from) - inZone(to) - 1;
  return byNodes < 0 || byZones < 0 ? 0 : byNodes + byZones;
}

/** What is to be kept apart. */
function sizesOf(nodes: readonly NodeView[], packing: Packing): ReadonlyMap<string, Held> {
  const held = nodes
    .flatMap((node) => node.held)
    .filter((one) => {
      const { apart } = termsOf(one, packing);
      return one.count > 0 && (apart.nodes !== "none" || apart.zones !== "none");
    });
  return new Map(held.map((one) => [one.subscription, one]));
}
