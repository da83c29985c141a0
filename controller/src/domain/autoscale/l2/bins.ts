/** Nodes as bins: what is free on them, and how many more of something they can take. */
import type { Capacity, Group, Held, L2Situation, NodeView, PartitionPolicy } from "./model.ts";

/** How to pack. `zones` names those where there could be nodes, even if there are none yet. */
export type Packing = PartitionPolicy["packing"] & { readonly zones: readonly string[] };

export function packingOf({ policy, offers }: Pick<L2Situation, "policy" | "offers">): Packing {
  return { ...policy.packing, zones: [...new Set(offers.flatMap(({ zone }) => zone ?? []))] };
}

/** Mutable: a bin lives for one packing only. */
export type Bin = {
  readonly id: string;
  readonly zone: string | null;
  readonly capacity: Capacity;
  readonly cpuMillisEach: number;
  /** Booting nodes are filled after those that are ready. */
  readonly ready: boolean;
  readonly free: { cpuMillis: number; memoryBytes: number; pids: number };
  readonly counts: Map<string, number>;
  readonly hostPorts: Set<string>;
  total: number;
};

export function createBin(
  node: Pick<NodeView, "id" | "zone" | "capacity" | "cpuMillisEach" | "held"> & {
    readonly ready: boolean;
  },
): Bin {
  const { id, zone, capacity, cpuMillisEach = Infinity, ready } = node;
  const bin: Bin = {
    id,
    zone,
    capacity,
    cpuMillisEach,
    ready,
    free: { ...capacity },
    counts: new Map(),
    hostPorts: new Set(),
    total: 0,
  };
  for (const held of node.held) take(bin, held, held.count);
  return bin;
}

export function take(
  bin: Bin,
  { subscription, size, hostPorts = [] }: Pick<Held, "subscription" | "size" | "hostPorts">,
  count: number,
): void {
  bin.free.cpuMillis -= count * size.cpuMillis;
  bin.free.memoryBytes -= count * size.memoryBytes;
  bin.free.pids -= count * size.pids;
  bin.counts.set(subscription, (bin.counts.get(subscription) ?? 0) + count);
  bin.total += count;
  for (const port of hostPorts) {
    if (count > 0) bin.hostPorts.add(port);
    else if (count < 0) bin.hostPorts.delete(port);
  }
}

/** How many more of the group fit. */
export function roomFor(
  bin: Bin,
  { subscription, size, hostPorts = [] }: Pick<Group, "subscription" | "size" | "hostPorts">,
  packing: Packing,
): number {
  const { free } = bin;
  if (size.cpuMillis > bin.cpuMillisEach) return 0;
  if (hostPorts.some((port) => bin.hostPorts.has(port))) return 0;
  const most = packing.exclusive ? 1 : (packing.maxPerNode ?? Infinity);
  const own =
    packing.apart.nodes === "require" ? 1 - (bin.counts.get(subscription) ?? 0) : Infinity;
  return Math.max(
    0,
    Math.min(
      Math.floor(free.cpuMillis / size.cpuMillis),
      Math.floor(free.memoryBytes / size.memoryBytes),
      Math.floor(free.pids / size.pids),
      most - bin.total,
      own,
      hostPorts.length === 0 ? Infinity : 1,
    ),
  );
}

/** Share in use of whichever resource is used most, 0 to 1. */
export function fillOf({ capacity, free }: Pick<Bin, "capacity" | "free">): number {
  return (
    1 -
    Math.min(
      free.cpuMillis / capacity.cpuMillis,
      free.memoryBytes / capacity.memoryBytes,
      free.pids / capacity.pids,
    )
  );
}

/** The same, of a node. */
export function allocatedShare({ capacity, held }: Pick<NodeView, "capacity" | "held">): number {
  let cpuMillis = 0;
  let memoryBytes = 0;
  let pids = 0;
  for (const { size, count } of held) {
    cpuMillis += count * size.cpuMillis;
    memoryBytes += count * size.memoryBytes;
    pids += count * size.pids;
  }
  return Math.max(
    cpuMillis / capacity.cpuMillis,
    memoryBytes / capacity.memoryBytes,
    pids / capacity.pids,
  );
}

/** Share of the capacity that one process takes, of whichever resource it takes most. */
export function shareOf(size: Capacity, capacity: Capacity): number {
  return Math.max(
    size.cpuMillis / capacity.cpuMillis,
    size.memoryBytes / capacity.memoryBytes,
    size.pids / capacity.pids,
  );
}
