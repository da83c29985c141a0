/** Which node each waiting process goes to. The packing is level 2's own, so that what it takes for room is room. Pure. */
import type { Capacity, Limits } from "@strata/protocol/agent/messages";

import { type Bin, createBin, type Packing, type Wanted } from "./autoscale/l2/bins.ts";
import type { Group, Held, LayerHolders, PlacementRule, Traits } from "./autoscale/l2/model.ts";
import { largestFirst, packGroup } from "./autoscale/l2/pack.ts";
import { createPool } from "./autoscale/l2/pool.ts";
import { findObstacle, type NodeBefore } from "./obstacle.ts";
import type { Problem } from "./process.ts";

export type Need = {
  readonly limits: Limits;
  readonly hostPorts: readonly string[];
  /** The same object for all that have the same rule is fastest. */
  readonly rule?: PlacementRule;
  /** Digest of what it runs, to ask `holdersOf` with [nobody is asked]. */
  readonly image?: string;
};
export type WaitingProcess = Need & {
  readonly id: string;
  readonly partition: string;
  /** Tells apart whose processes are kept apart. */
  readonly subscription: string;
  /** It can be on this node alone [any]. */
  readonly nodeId?: string;
};

export type Candidate = Traits &
  NodeBefore & {
    readonly id: string;
    readonly name: string;
    readonly partition: string;
    readonly zone: string | null;
    readonly held: readonly Held[];
  };

export type SchedulingOptions = {
  /** Processors may be promised this many times over: they are shared fairly when they are short, memory is not. */
  readonly cpuOvercommit: number;
  /** Of the partition's policy. */
  readonly packingOf: (partition: string) => Packing;
  /** Nodes of the partition that have layers of the image [nobody]. The same object for the same image is fastest. */
  readonly holdersOf?: (partition: string, image: string) => LayerHolders | undefined;
};

export type Schedule = {
  readonly placed: readonly PlacedProcess[];
  /** Of those that have a node, but have to wait until it has started others. */
  readonly deferred: readonly string[];
  readonly unplaced: readonly { readonly processId: string; readonly problem: Problem }[];
};

export type PlacedProcess = {
  readonly processId: string;
  readonly nodeId: string;
  /** Bytes of its image's layers that the node has. */
  readonly layerBytes: number;
};

/** Gives each process a node by its partition's policy, large ones first. The same input gives the same answer. */
export function schedule(
  waiting: readonly WaitingProcess[],
  candidates: readonly Candidate[],
  options: SchedulingOptions,
): Schedule {
  const nodes = Map.groupBy(candidates.toSorted(byId), ({ partition }) => partition);
  const partitions = [...Map.groupBy(waiting, ({ partition }) => partition)].map(
    ([partition, processes]) =>
      schedulePartition(processes, nodes.get(partition) ?? [], { ...options, partition }),
  );
  return {
    placed: partitions.flatMap(({ placed }) => placed),
    deferred: partitions.flatMap(({ deferred }) => deferred),
    unplaced: partitions.flatMap(({ unplaced }) => unplaced),
  };
}

/** What a process takes of a node. */
export function sizeOf({ cpuMaxMillis, memoryMaxBytes, pidsMax }: Limits): Capacity {
  return { cpuMillis: cpuMaxMillis, memoryBytes: memoryMaxBytes, pids: pidsMax };
}

/** What it wants, as packing has it. */
export function wantedOf({ subscription, limits, hostPorts, ...own }: WaitingProcess): Wanted {
  const { nodeId } = own;
  const rule = nodeId === undefined ? own.rule : { ...own.rule, nodeId };
  return {
    subscription,
    size: sizeOf(limits),
    hostPorts,
    ...(rule === undefined ? {} : { rule }),
  };
}

/** What a node may promise. */
export function promisedCapacity(
  capacity: Capacity,
  cpuOvercommit: number,
): { readonly capacity: Capacity; readonly cpuMillisEach: number } {
  return {
    capacity: { ...capacity, cpuMillis: capacity.cpuMillis * cpuOvercommit },
    cpuMillisEach: capacity.cpuMillis,
  };
}

/** A candidate as a bin. */
export function toBin(node: Candidate, cpuOvercommit: number): Bin {
  return createBin({ ...node, ...promisedCapacity(node.capacity, cpuOvercommit), ready: true });
}

type Options = SchedulingOptions & { readonly partition: string };
type Left = { readonly processes: readonly WaitingProcess[]; readonly group: Group };

function schedulePartition(
  waiting: readonly WaitingProcess[],
  nodes: readonly Candidate[],
  options: Options,
): Schedule {
  const { cpuOvercommit, packingOf, partition } = options;
  const packing = packingOf(partition);
  const bins = new Map(nodes.map((node) => [node.id, toBin(node, cpuOvercommit)]));
  const open = nodes.filter(({ closed }) => closed === undefined);
  const pool = createPool(
    open.flatMap(({ id }) => bins.get(id) ?? []),
    packing,
  );
  const starts = new Map(open.map(({ id, starting }) => [id, packing.startsAtOnce - starting]));
  const placed: PlacedProcess[] = [];
  const deferred: string[] = [];
  const left: Left[] = [];
  for (const { group, processes } of groupAlike(waiting, options)) {
    const bytesOn = group.holders?.bytesOn;
    // One group after the other, so that it is known whose places they are.
    let next = 0;
    for (const { binId: nodeId, count } of packGroup(group, pool).placed) {
      for (const { id: processId } of processes.slice(next, next + count)) {
        const starting = starts.get(nodeId) ?? 0;
        starts.set(nodeId, starting - 1);
        // It keeps its place: a packing that waits is better than one that spills over.
        if (starting <= 0) deferred.push(processId);
        else placed.push({ processId, nodeId, layerBytes: bytesOn?.get(nodeId) ?? 0 });
      }
      next += count;
    }
    if (next < processes.length) left.push({ processes: processes.slice(next), group });
  }
  const unplaced = left.flatMap(({ processes, group }) => {
    const problem = explain({ nodes, bins, options }, group);
    return processes.map(({ id: processId }) => ({ processId, problem }));
  });
  return { placed, deferred, unplaced };
}

type Alike = { readonly group: Group; readonly processes: readonly WaitingProcess[] };

/** Processes that are the same to the packing, in the order in which they are packed. */
function groupAlike(
  waiting: readonly WaitingProcess[],
  { holdersOf, partition }: Options,
): readonly Alike[] {
  const alike = Map.groupBy(waiting.toSorted(byId), createKeyOf());
  return [...alike]
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .flatMap(([, processes]): readonly Alike[] => {
      const [first] = processes;
      if (first === undefined) return [];
      const holders = first.image === undefined ? undefined : holdersOf?.(partition, first.image);
      const group: Group = {
        ...wantedOf(first),
        ...(holders === undefined ? {} : { holders }),
        count: processes.length,
      };
      return [{ group, processes }];
    })
    .toSorted((left, right) => largestFirst(left.group, right.group));
}

function createKeyOf(): (process: WaitingProcess) => string {
  const rules = new Map<PlacementRule | undefined, string>();
  return ({ subscription, limits, hostPorts, rule, nodeId = "", image = "" }) => {
    const text = rules.get(rule) ?? JSON.stringify(rule ?? null);
    rules.set(rule, text);
    const { cpuMaxMillis, memoryMaxBytes, pidsMax } = limits;
    const size = `${cpuMaxMillis} ${memoryMaxBytes} ${pidsMax}`;
    return `${subscription} ${size} ${hostPorts.join()} ${nodeId} ${image} ${text}`;
  };
}

function byId(left: { readonly id: string }, right: { readonly id: string }): number {
  return left.id < right.id ? -1 : 1;
}

const NODES_EXPLAINED_MAX = 5;

type Filled = {
  readonly nodes: readonly Candidate[];
  readonly bins: ReadonlyMap<string, Bin>;
  readonly options: Options;
};

function explain({ nodes, bins, options }: Filled, group: Group): Problem {
  const { partition, packingOf } = options;
  if (nodes.length === 0)
    return {
      code: "NO_NODES",
      message: `partition ${partition} has no nodes; let one join with a token of POST /v1/join-tokens`,
    };
  const packing = packingOf(partition);
  const open = nodes.flatMap(({ id, closed }) =>
    closed === undefined ? (bins.get(id) ?? []) : [],
  );
  const reasons = nodes.slice(0, NODES_EXPLAINED_MAX).map((node) => {
    const bin = bins.get(node.id);
    const obstacle =
      bin === undefined ? undefined : findObstacle({ bin, node, packing, open }, group);
    return `${node.name} ${obstacle?.text ?? "has none left"}`;
  });
  const more = nodes.length - reasons.length;
  return {
    code: "NO_ROOM",
    message: `no node has room: ${reasons.join("; ")}${more > 0 ? `; and ${more} more` : ""}`,
  };
}
