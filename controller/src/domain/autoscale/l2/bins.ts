/** Nodes as bins: what is free on them, and how many more of something they can take. */
import type {
  Capacity,
  Group,
  Held,
  L2Situation,
  NodeView,
  PartitionPolicy,
  PlacementRule,
  Traits,
} from "./model.ts";

/** How to pack. `zones` names those where there could be nodes, even if there are none yet. */
export type Packing = PartitionPolicy["packing"] & { readonly zones: readonly string[] };

export function packingOf({ policy, offers }: Pick<L2Situation, "policy" | "offers">): Packing {
  return { ...policy.packing, zones: [...new Set(offers.flatMap(({ zone }) => zone ?? []))] };
}

/** Mutable: a bin lives for one packing only. */
export type Bin = Traits & {
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
  /** Share in use of whichever resource is used most, 0 to 1. */
  fill: number;
};

export function createBin(
  node: Pick<
    NodeView,
    "id" | "zone" | "capacity" | "cpuMillisEach" | "held" | "architecture" | "labels"
  > & { readonly ready: boolean },
): Bin {
  const { id, zone, capacity, cpuMillisEach = Infinity, ready, architecture, labels = {} } = node;
  const bin: Bin = {
    id,
    zone,
    architecture,
    labels,
    capacity,
    cpuMillisEach,
    ready,
    free: { ...capacity },
    counts: new Map(),
    hostPorts: new Set(),
    total: 0,
    fill: 0,
  };
  for (const held of node.held) take(bin, held, held.count);
  return bin;
}

export function take(
  bin: Bin,
  { subscription, size, hostPorts = [] }: Pick<Held, "subscription" | "size" | "hostPorts">,
  count: number,
): void {
  const { free, capacity, counts } = bin;
  free.cpuMillis -= count * size.cpuMillis;
  free.memoryBytes -= count * size.memoryBytes;
  free.pids -= count * size.pids;
  counts.set(subscription, (counts.get(subscription) ?? 0) + count);
  bin.total += count;
  bin.fill =
    1 -
    Math.min(
      free.cpuMillis / capacity.cpuMillis,
      free.memoryBytes / capacity.memoryBytes,
      free.pids / capacity.pids,
    );
  for (const port of hostPorts) {
    if (count > 0) bin.hostPorts.add(port);
    else if (count < 0) bin.hostPorts.delete(port);
  }
}

export type Wanted = Pick<Group, "subscription" | "size" | "hostPorts" | "rule">;

/** What a policy and a group's own rule come to together. */
export type Terms = Wanted & {
  readonly apart: Packing["apart"];
  /** Processes on one node, of all subscriptions and of its own. */
  readonly mostInAll: number;
  readonly mostOwn: number;
};

export function termsOf(wanted: Wanted, packing: Packing): Terms {
  const { subscription, size, hostPorts = [], rule } = wanted;
  const apart = rule?.apart ?? packing.apart;
  return {
    subscription,
    size,
    hostPorts,
    ...(rule === undefined ? {} : { rule }),
    apart,
    mostInAll: packing.exclusive ? 1 : (packing.maxPerNode ?? Infinity),
    mostOwn: Math.min(apart.nodes === "require" ? 1 : Infinity, rule?.maxPerNode ?? Infinity),
  };
}

/** How many more of the group fit. */
export function roomFor(bin: Bin, terms: Terms): number {
  const { free } = bin;
  const { subscription, size, hostPorts = [], rule, mostInAll, mostOwn } = terms;
  if (size.cpuMillis > bin.cpuMillisEach || !permits(bin, rule)) return 0;
  for (const port of hostPorts) if (bin.hostPorts.has(port)) return 0;
  const own = mostOwn === Infinity ? 0 : (bin.counts.get(subscription) ?? 0);
  return Math.max(
    0,
    Math.min(
      Math.floor(free.cpuMillis / size.cpuMillis),
      Math.floor(free.memoryBytes / size.memoryBytes),
      Math.floor(free.pids / size.pids),
      mostInAll - bin.total,
      mostOwn - own,
      hostPorts.length === 0 ? Infinity : 1,
    ),
  );
}

/** Whether nodes like this one may have processes of the rule, however much is free there. */
export function permits(
  node: Traits & Pick<Bin, "zone"> & { readonly id?: string },
  rule: PlacementRule | undefined,
): boolean {
  return rule === undefined || findBar(node, rule) === undefined;
}

/** The first part of the rule that the node does not meet. */
export function findBar(
  { id, zone, architecture, labels = {} }: Parameters<typeof permits>[0],
  rule: PlacementRule,
): "node" | "architecture" | "zone" | "labels" | undefined {
  if (rule.nodeId !== undefined && rule.nodeId !== id) return "node";
  if (
    rule.architectures !== undefined &&
    architecture !== undefined &&
    !rule.architectures.includes(architecture)
  )
    return "architecture";
  if (rule.zones !== undefined && (zone === null || !rule.zones.includes(zone))) return "zone";
  for (const name in rule.labels) if (labels[name] !== rule.labels[name]) return "labels";
  return undefined;
}

/** Share in use of whichever resource is used most, of a node. */
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
