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
  /** After so many places nobody looks for more [looks for all]: the same places are found the next time. */
  readonly placedMax?: number;
};

export type Schedule = {
  readonly placed: PlacedProcess[];
  /** Of those that have a node, but have to wait until it has started others. */
  readonly deferred: string[];
  readonly unplaced: { readonly processId: string; readonly problem: Problem }[];
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
  const partitions = Map.groupBy(waiting, ({ partition }) => partition).values();
  return scheduleAlike([...partitions].flatMap(groupAlike), candidates, options);
}

/** As `schedule`, of processes that were grouped before: each group with all that is alike. */
export function scheduleAlike(
  alike: readonly Alike[],
  candidates: readonly Candidate[],
  { placedMax = Infinity, ...options }: SchedulingOptions,
): Schedule {
  const nodes = Map.groupBy(candidates.toSorted(byId), ({ partition }) => partition);
  const done: Schedule = { placed: [], deferred: [], unplaced: [] };
  for (const [partition, groups] of Map.groupBy(alike, (one) => one.partition)) {
    if (done.placed.length >= placedMax) break;
    const ordered = groups.toSorted(inOrder);
    schedulePartition(ordered, nodes.get(partition) ?? [], {
      ...options,
      partition,
      placedMax,
      done,
    });
  }
  return done;
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

type Options = SchedulingOptions & {
  readonly partition: string;
  readonly placedMax: number;
  /** What is decided goes here. */
  readonly done: Schedule;
};
type Left = { readonly processes: readonly WaitingProcess[]; readonly group: Group };

function schedulePartition(
  alike: readonly Alike[],
  nodes: readonly Candidate[],
  options: Options,
): void {
  const { cpuOvercommit, packingOf, partition, placedMax, done } = options;
  const packing = packingOf(partition);
  const bins = new Map(nodes.map((node) => [node.id, toBin(node, cpuOvercommit)]));
  const open = nodes.filter(({ closed }) => closed === undefined);
  const pool = createPool(
    open.flatMap(({ id }) => bins.get(id) ?? []),
    packing,
  );
  const starts = new Map(open.map(({ id, starting }) => [id, packing.startsAtOnce - starting]));
  const left: Left[] = [];
  for (const { wanted, image, processes } of alike) {
    if (done.placed.length >= placedMax) break;
    const group = toGroup(wanted, { image, count: processes.length }, options);
    const bytesOn = group.holders?.bytesOn;
    // One group after the other, so that it is known whose places they are.
    let next = 0;
    for (const { binId: nodeId, count } of packGroup(group, pool).placed) {
      const starting = Math.max(0, starts.get(nodeId) ?? 0);
      starts.set(nodeId, starting - count);
      const layerBytes = bytesOn?.get(nodeId) ?? 0;
      for (const [index, { id: processId }] of processes.slice(next, next + count).entries()) {
        // It keeps its place: a packing that waits is better than one that spills over.
        if (index >= starting) done.deferred.push(processId);
        else done.placed.push({ processId, nodeId, layerBytes });
      }
      next += count;
    }
    if (next < processes.length) left.push({ processes: processes.slice(next), group });
  }
  for (const { processes, group } of left) {
    const problem = explain({ nodes, bins, options }, group);
    for (const { id: processId } of processes) done.unplaced.push({ processId, problem });
  }
}

function toGroup(
  wanted: Wanted,
  { image, count }: { readonly image: string | undefined; readonly count: number },
  { holdersOf, partition }: Options,
): Group {
  const holders = image === undefined ? undefined : holdersOf?.(partition, image);
  return { ...wanted, ...(holders === undefined ? {} : { holders }), count };
}

/** Processes that are the same to the packing, in the order in which they are packed. */
export type Alike = {
  readonly partition: string;
  /** Tells it apart, and orders what is equally large. */
  readonly key: string;
  readonly wanted: Wanted;
  readonly image: string | undefined;
  readonly processes: readonly WaitingProcess[];
};

/** Of one partition. */
export function groupAlike(waiting: readonly WaitingProcess[]): readonly Alike[] {
  const alike = Map.groupBy(waiting.toSorted(byId), createKeyOf());
  return [...alike].flatMap(([key, processes]): readonly Alike[] => {
    const [first] = processes;
    if (first === undefined) return [];
    const { partition, image } = first;
    return [{ partition, key, wanted: wantedOf(first), image, processes }];
  });
}

function inOrder(left: Alike, right: Alike): number {
  return largestFirst(left.wanted, right.wanted) || (left.key < right.key ? -1 : 1);
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
