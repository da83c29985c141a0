/** First-fit-decreasing on processors, memory and pids, group by group. Pure to the outside: bins belong to the call. */
import { type Bin, fillOf, type Packing, roomFor, take } from "./bins.ts";
import type { Group } from "./model.ts";

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
  const placed: Placed[] = [];
  const left: Group[] = [];
  for (const group of groups.toSorted(largestFirst)) {
    if (group.count <= 0) continue;
    const rest = packGroup(group, bins, { packing, placed });
    if (rest > 0) left.push({ ...group, count: rest });
  }
  return { placed, left };
}

type Run = { readonly packing: Packing; readonly placed: Placed[] };

/** The number that found no room. */
function packGroup(group: Group, bins: readonly Bin[], run: Run): number {
  const { apart, strategy } = run.packing;
  if (apart.zones !== "none") return packOverZones(group, bins, run);
  return strategy === "spread"
    ? packOneByOne(group, bins, run)
    : packFullestFirst(group, bins, run);
}

function packFullestFirst(group: Group, bins: readonly Bin[], run: Run): number {
  const order = bins.toSorted(fullestFirst);
  let rest = group.count;
  if (run.packing.apart.nodes === "prefer") {
    for (const bin of order) {
      if (rest === 0) return 0;
      if (bin.counts.has(group.subscription)) continue;
      rest -= put(group, { bin, count: Math.min(1, rest) }, run);
    }
  }
  for (const bin of order) {
    if (rest === 0) return 0;
    rest -= put(group, { bin, count: rest }, run);
  }
  return rest;
}

function packOneByOne(group: Group, bins: readonly Bin[], run: Run): number {
  let rest = group.count;
  while (rest > 0) {
    const bin = chooseBin(group, bins, run.packing);
    if (bin === undefined) return rest;
    rest -= put(group, { bin, count: 1 }, run);
  }
  return 0;
}

/** Each process goes to the zone that has fewest of its subscription; to another one only if that is allowed. */
function packOverZones(group: Group, bins: readonly Bin[], run: Run): number {
  const zones = new Map<string | null, Bin[]>(run.packing.zones.map((zone) => [zone, []]));
  for (const bin of bins) {
    const zone = zones.get(bin.zone) ?? [];
    zone.push(bin);
    zones.set(bin.zone, zone);
  }
  const countIn = (zone: readonly Bin[]): number =>
    zone.reduce((count, bin) => count + (bin.counts.get(group.subscription) ?? 0), 0);
  let rest = group.count;
  while (rest > 0) {
    const order = [...zones.values()].map((zone) => ({ zone, count: countIn(zone) }));
    order.sort((a, b) => a.count - b.count);
    const least = order[0]?.count ?? 0;
    const allowed =
      run.packing.apart.zones === "require" ? order.filter(({ count }) => count === least) : order;
    const bin = firstOf(allowed, ({ zone }) => chooseBin(group, zone, run.packing));
    if (bin === undefined) return rest;
    rest -= put(group, { bin, count: 1 }, run);
  }
  return 0;
}

function firstOf<Item, Found>(
  items: readonly Item[],
  find: (item: Item) => Found | undefined,
): Found | undefined {
  for (const item of items) {
    const found = find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The best bin for one process. */
function chooseBin(group: Group, bins: readonly Bin[], packing: Packing): Bin | undefined {
  const order = packing.strategy === "spread" ? emptiestFirst : fullestFirst;
  let best: Bin | undefined;
  let bestOwn = Infinity;
  for (const bin of bins) {
    if (roomFor(bin, group, packing) === 0) continue;
    const own = packing.apart.nodes === "none" ? 0 : (bin.counts.get(group.subscription) ?? 0);
    if (best === undefined || own < bestOwn || (own === bestOwn && order(bin, best) < 0)) {
      best = bin;
      bestOwn = own;
    }
  }
  return best;
}

/** Puts at most `count` there and says how many. */
function put(
  group: Group,
  { bin, count }: { readonly bin: Bin; readonly count: number },
  run: Run,
): number {
  const fits = Math.min(count, roomFor(bin, group, run.packing));
  if (fits === 0) return 0;
  take(bin, group, fits);
  run.placed.push({ subscription: group.subscription, binId: bin.id, count: fits });
  return fits;
}

/** The order in which groups are packed. */
export function largestFirst(a: Group, b: Group): number {
  return (
    b.size.memoryBytes - a.size.memoryBytes ||
    b.size.cpuMillis - a.size.cpuMillis ||
    b.size.pids - a.size.pids ||
    (a.subscription < b.subscription ? -1 : Number(a.subscription > b.subscription))
  );
}

function fullestFirst(a: Bin, b: Bin): number {
  return Number(b.ready) - Number(a.ready) || fillOf(b) - fillOf(a) || (a.id < b.id ? -1 : 1);
}

function emptiestFirst(a: Bin, b: Bin): number {
  return Number(b.ready) - Number(a.ready) || fillOf(a) - fillOf(b) || (a.id < b.id ? -1 : 1);
}
