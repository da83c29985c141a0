import { type BinOrder, createBinOrder } from "./bin-order.ts";
/** The bins of a partition while they are filled, found by order and by zone. */
import { type Bin, type Packing, permits, take, type Wanted } from "./bins.ts";
import type { PlacementRule } from "./model.ts";

export type ZoneOfPool = {
  readonly name: string | null;
  readonly order: BinOrder;
  /** Processes of a subscription there. */
  readonly countOf: (subscription: string) => number;
};

export type Pool = {
  readonly packing: Packing;
  readonly order: BinOrder;
  /** Those where there are, or could be, nodes for the rule. */
  readonly zonesFor: (rule: PlacementRule | undefined) => readonly ZoneOfPool[];
  /** Every bin of a pool is filled by this alone. */
  readonly take: (bin: Bin, wanted: Wanted, count: number) => void;
};

type Zone = {
  readonly name: string | null;
  readonly bins: readonly Bin[];
  readonly order: BinOrder;
  readonly counts: Map<string, number>;
};

export function createPool(bins: readonly Bin[], packing: Packing): Pool {
  const order = createBinOrder(bins, packing.strategy);
  // Most partitions never ask for them.
  let zones: ReadonlyMap<string | null, Zone> | undefined;
  return {
    packing,
    order,
    zonesFor: (rule) => {
      zones ??= createZones(bins, packing);
      return [...zones.values()]
        .filter((zone) => isFor(zone, rule, packing))
        .map(({ name, order: zoneOrder, counts }) => ({
          name,
          order: zoneOrder,
          countOf: (subscription) => counts.get(subscription) ?? 0,
        }));
    },
    take: (bin, wanted, count) => {
      const zone = zones?.get(bin.zone);
      order.remove(bin);
      zone?.order.remove(bin);
      take(bin, wanted, count);
      order.insert(bin);
      zone?.order.insert(bin);
      if (zone !== undefined) add(zone.counts, wanted.subscription, count);
    },
  };
}

function createZones(bins: readonly Bin[], packing: Packing): ReadonlyMap<string | null, Zone> {
  const grouped = Map.groupBy(bins, ({ zone }) => zone);
  const names = new Set<string | null>([...packing.zones, ...grouped.keys()]);
  return new Map(
    [...names].map((name) => {
      const own = grouped.get(name) ?? [];
      const counts = new Map<string, number>();
      for (const bin of own)
        for (const [subscription, count] of bin.counts) add(counts, subscription, count);
      return [name, { name, bins: own, order: createBinOrder(own, packing.strategy), counts }];
    }),
  );
}

/** A zone without nodes counts where the rule would have it: there could be some soon. */
function isFor({ name, bins }: Zone, rule: PlacementRule | undefined, packing: Packing): boolean {
  if (rule === undefined) return true;
  if (rule.zones !== undefined && (name === null || !rule.zones.includes(name))) return false;
  const isOffered = name !== null && packing.zones.includes(name);
  return isOffered || bins.some((bin) => permits(bin, rule));
}

function add(counts: Map<string, number>, name: string, count: number): void {
  counts.set(name, (counts.get(name) ?? 0) + count);
}
