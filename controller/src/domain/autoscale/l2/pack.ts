/** First-fit-decreasing on processors, memory and pids, group by group. Pure to the outside: bins belong to the call. */
import type { BinOrder } from "./bin-order.ts";
import { type Bin, type Packing, roomFor, type Terms, termsOf } from "./bins.ts";
import type { Group, LayerHolders } from "./model.ts";
import { createPool, type Pool } from "./pool.ts";

export type Placed = {
  readonly subscription: string;
  readonly binId: string;
  readonly count: number;
};

export type Packed = {
  readonly placed: readonly Placed[];
  /** What found no room. */
  readonly left: readonly Group[];
};

/** Fills the bins in place, large processes first. Equal input gives equal output. */
export function pack(groups: readonly Group[], bins: readonly Bin[], packing: Packing): Packed {
  const pool = createPool(bins, packing);
  const placed: Placed[] = [];
  const left: Group[] = [];
  for (const group of groups.toSorted(largestFirst)) {
    const done = packGroup(group, pool);
    placed.push(...done.placed);
    if (done.left > 0) left.push({ ...group, count: done.left });
  }
  return { placed, left };
}

/** Fills the pool in place with one group. `left` is the number that found no room. */
export function packGroup(
  group: Group,
  pool: Pool,
): { readonly placed: readonly Placed[]; readonly left: number } {
  const placed: Placed[] = [];
  const terms = termsOf(group, pool.packing);
  const choose = createChooser(group, terms, pool);
  let left = group.count;
  while (left > 0) {
    const bin = choose();
    if (bin === undefined) break;
    const count = Math.min(goesOneByOne(terms, pool) ? 1 : left, roomFor(bin, terms));
    pool.take(bin, group, count);
    placed.push({ subscription: group.subscription, binId: bin.id, count });
    left -= count;
  }
  return { placed, left };
}

/** Else a bin is filled before the next one is begun. */
function goesOneByOne({ apart }: Terms, { packing }: Pool): boolean {
  return packing.strategy === "spread" || apart.zones !== "none" || apart.nodes === "prefer";
}

/** Gives the best bin for the next process of the group, each time it is called. */
function createChooser(group: Group, terms: Terms, pool: Pool): () => Bin | undefined {
  // What is on a bin only grows while the group is packed, so no level is ever tried again; undefined is none at all.
  const isLevelled = terms.apart.nodes === "prefer";
  const levels = new Map<BinOrder, number | undefined>();
  const pickers = new Map<BinOrder, (level: number) => Bin | undefined>();
  const chooseIn = (order: BinOrder): Bin | undefined => {
    const pick = pickers.get(order) ?? createPicker(order, group, terms);
    pickers.set(order, pick);
    let level = levels.has(order) ? levels.get(order) : isLevelled ? 0 : Infinity;
    let bin: Bin | undefined;
    while (level !== undefined && bin === undefined) {
      bin = pick(level);
      if (bin === undefined) level = isLevelled ? leastOwn(order, terms, level) : undefined;
    }
    levels.set(order, level);
    return bin;
  };
  const { zones } = terms.apart;
  if (zones === "none") return () => chooseIn(pool.order);
  const all = pool.zonesFor(terms.rule);
  return () => {
    // Each process goes to the zone that has fewest of its subscription; to another one only if that is allowed.
    const counted = all.map((zone) => ({ ...zone, count: zone.countOf(group.subscription) }));
    counted.sort((a, b) => a.count - b.count);
    const least = counted[0]?.count;
    for (const { order, count } of counted) {
      if (zones === "require" && count !== least) return undefined;
      const bin = chooseIn(order);
      if (bin !== undefined) return bin;
    }
    return undefined;
  };
}

const NOBODY: LayerHolders = { bytesOn: new Map(), most: 0 };

/** Gives the first bin of the order that has room and no more than `level` of the subscription; of those that are
 * equal to it, the one that has most of the layers. */
function createPicker(
  order: BinOrder,
  group: Group,
  terms: Terms,
): (level: number) => Bin | undefined {
  const { bytesOn, most } = group.holders ?? NOBODY;
  const bytesOf = ({ id }: Bin): number => bytesOn.get(id) ?? 0;
  // Equal bins, the best last. What is given is filled and so no longer equal to the others, and none becomes so.
  let equals: Bin[] = [];
  return (level) => {
    const first = findEquals(order, { terms, level, isEnough: () => true })[0];
    if (first === undefined || bytesOf(first) >= most) return first;
    for (let best = equals.pop(); best !== undefined; best = equals.pop())
      if (order.isSame(best, first) && takes(best, terms, level)) return best;
    const isEnough = (bin: Bin): boolean => bytesOf(bin) >= most;
    const found = findEquals(order, { terms, level, isEnough });
    const last = found.at(-1);
    // None is better, and those after it were not looked at.
    if (last !== undefined && isEnough(last)) return last;
    equals = found.toReversed().toSorted((a, b) => bytesOf(a) - bytesOf(b));
    return equals.pop();
  };
}

type Wish = {
  readonly terms: Terms;
  readonly level: number;
  /** No more are looked for after this one. */
  readonly isEnough: (bin: Bin) => boolean;
};

/** The first bins with room, which are all equal, in their order. */
function findEquals(order: BinOrder, { terms, level, isEnough }: Wish): readonly Bin[] {
  const found: Bin[] = [];
  order.visit(terms.size, (bin) => {
    if (found[0] !== undefined && !order.isSame(bin, found[0])) return "enough";
    if (!takes(bin, terms, level)) return "on";
    found.push(bin);
    return isEnough(bin) ? "enough" : "on";
  });
  return found;
}

function takes(bin: Bin, terms: Terms, level: number): boolean {
  if (level < Infinity && (bin.counts.get(terms.subscription) ?? 0) > level) return false;
  return roomFor(bin, terms) > 0;
}

/** How many of the subscription are on the bin with fewest of them, of those with more than `level` and with room. */
function leastOwn(order: BinOrder, terms: Terms, level: number): number | undefined {
  let least: number | undefined;
  order.visit(terms.size, (bin) => {
    const own = bin.counts.get(terms.subscription) ?? 0;
    if (own > level && (least === undefined || own < least) && roomFor(bin, terms) > 0) least = own;
    return "on";
  });
  return least;
}

/** The order in which groups are packed. */
export function largestFirst(
  a: Pick<Group, "size" | "subscription">,
  b: Pick<Group, "size" | "subscription">,
): number {
  return (
    b.size.memoryBytes - a.size.memoryBytes ||
    b.size.cpuMillis - a.size.cpuMillis ||
    b.size.pids - a.size.pids ||
    (a.subscription < b.subscription ? -1 : Number(a.subscription > b.subscription))
  );
}
