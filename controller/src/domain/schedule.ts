/** Which node each waiting process goes to. The packing is level 2's own, so that what it takes for room is room. Pure. */
import type { Capacity, Limits } from "@strata/protocol/agent/messages";

import { type Bin, createBin, type Packing } from "./autoscale/l2/bins.ts";
import type { Group, Held } from "./autoscale/l2/model.ts";
import { largestFirst, pack } from "./autoscale/l2/pack.ts";
import type { Problem } from "./process.ts";

export type Need = { readonly limits: Limits; readonly hostPorts: readonly string[] };
export type WaitingProcess = Need & {
  readonly id: string;
  readonly partition: string;
  /** Tells apart whose processes are kept apart. */
  readonly subscription: string;
};

export type Candidate = {
  readonly id: string;
  readonly name: string;
  readonly partition: string;
  readonly zone: string | null;
  /** Why it takes nothing new; undefined when it does. */
  readonly closed: "cordoned" | "draining" | "away" | undefined;
  /** As its agent reports it. */
  readonly capacity: Capacity;
  readonly held: readonly Held[];
};

export type SchedulingOptions = {
  /** Processors may be promised this many times over: they are shared fairly when they are short, memory is not. */
  readonly cpuOvercommit: number;
  /** Of the partition's policy. */
  readonly packingOf: (partition: string) => Packing;
};

export type Schedule = {
  readonly placed: readonly { readonly processId: string; readonly nodeId: string }[];
  readonly unplaced: readonly { readonly processId: string; readonly problem: Problem }[];
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
      schedulePartition(processes, nodes.get(partition) ?? [], {
        cpuOvercommit: options.cpuOvercommit,
        packing: options.packingOf(partition),
      }),
  );
  return {
    placed: partitions.flatMap(({ placed }) => placed),
    unplaced: partitions.flatMap(({ unplaced }) => unplaced),
  };
}

/** Why the node could not hold one such process even if it were empty; undefined when it could. */
export function neverFits(capacity: Capacity, limits: Limits): string | undefined {
  if (limits.memoryMaxBytes > capacity.memoryBytes)
    return `memory ${limits.memoryMaxBytes} of ${capacity.memoryBytes} bytes`;
  if (limits.cpuMaxMillis > capacity.cpuMillis)
    return `cpu ${limits.cpuMaxMillis} of ${capacity.cpuMillis} thousandths`;
  if (limits.pidsMax > capacity.pids) return `pids ${limits.pidsMax} of ${capacity.pids}`;
  return undefined;
}

/** What a process takes of a node. */
export function sizeOf({ cpuMaxMillis, memoryMaxBytes, pidsMax }: Limits): Capacity {
  return { cpuMillis: cpuMaxMillis, memoryBytes: memoryMaxBytes, pids: pidsMax };
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

type Rules = { readonly cpuOvercommit: number; readonly packing: Packing };

function schedulePartition(
  waiting: readonly WaitingProcess[],
  nodes: readonly Candidate[],
  { cpuOvercommit, packing }: Rules,
): Schedule {
  const bins = new Map(
    nodes
      .filter(({ closed }) => closed === undefined)
      .map((node) => {
        const promised = promisedCapacity(node.capacity, cpuOvercommit);
        return [node.id, createBin({ ...node, ...promised, ready: true })];
      }),
  );
  const placed: Schedule["placed"][number][] = [];
  const left: { readonly process: WaitingProcess; readonly group: Group }[] = [];
  for (const { group, processes } of groupAlike(waiting)) {
    // One group after the other, so that it is known whose places they are.
    const places = pack([group], [...bins.values()], packing).placed.flatMap(({ binId, count }) =>
      Array.from({ length: count }, () => binId),
    );
    processes.forEach((process, index) => {
      const nodeId = places[index];
      if (nodeId === undefined) left.push({ process, group });
      else placed.push({ processId: process.id, nodeId });
    });
  }
  return {
    placed,
    unplaced: left.map(({ process, group }) => ({
      processId: process.id,
      problem: explain({ nodes, bins, packing }, process, group),
    })),
  };
}

type Alike = { readonly group: Group; readonly processes: readonly WaitingProcess[] };

/** Processes that are the same to the packing, in the order in which they are packed. */
function groupAlike(waiting: readonly WaitingProcess[]): readonly Alike[] {
  const keyOf = ({ subscription, limits, hostPorts }: WaitingProcess): string =>
    JSON.stringify([subscription, sizeOf(limits), hostPorts]);
  return [...Map.groupBy(waiting.toSorted(byId), keyOf)]
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .flatMap(([, processes]): readonly Alike[] => {
      const [first] = processes;
      if (first === undefined) return [];
      const { subscription, limits, hostPorts } = first;
      const group = { subscription, size: sizeOf(limits), hostPorts, count: processes.length };
      return [{ group, processes }];
    })
    .toSorted((left, right) => largestFirst(left.group, right.group));
}

function byId(left: { readonly id: string }, right: { readonly id: string }): number {
  return left.id < right.id ? -1 : 1;
}

const NODES_EXPLAINED_MAX = 5;

type Filled = {
  readonly nodes: readonly Candidate[];
  readonly bins: ReadonlyMap<string, Bin>;
  readonly packing: Packing;
};

function explain({ nodes, bins, packing }: Filled, process: WaitingProcess, group: Group): Problem {
  if (nodes.length === 0)
    return {
      code: "NO_NODES",
      message: `partition ${process.partition} has no nodes; let one join with a token of POST /v1/join-tokens`,
    };
  const reasons = nodes.slice(0, NODES_EXPLAINED_MAX).map((node) => {
    const bin = bins.get(node.id);
    const why =
      bin === undefined
        ? `is ${node.closed}`
        : (neverReason(node, process) ?? obstacle(bin, group, packing));
    return `${node.name} ${why}`;
  });
  const more = nodes.length - reasons.length;
  return {
    code: "NO_ROOM",
    message: `no node has room: ${reasons.join("; ")}${more > 0 ? `; and ${more} more` : ""}`,
  };
}

function neverReason({ capacity }: Candidate, { limits }: WaitingProcess): string | undefined {
  const never = neverFits(capacity, limits);
  return never === undefined ? undefined : `is too small: ${never}`;
}

function obstacle(
  bin: Bin,
  { subscription, size, hostPorts = [] }: Group,
  packing: Packing,
): string {
  const { free } = bin;
  if (free.memoryBytes < size.memoryBytes)
    return `lacks memory: ${free.memoryBytes} of ${size.memoryBytes} bytes free`;
  if (free.cpuMillis < size.cpuMillis)
    return `lacks cpu: ${free.cpuMillis} of ${size.cpuMillis} thousandths free`;
  if (free.pids < size.pids) return `lacks pids: ${free.pids} of ${size.pids} free`;
  const port = hostPorts.find((wanted) => bin.hostPorts.has(wanted));
  if (port !== undefined) return `has no free port ${port}`;
  const most = packing.exclusive ? 1 : (packing.maxPerNode ?? Infinity);
  if (bin.total >= most) return `has its ${most} of at most ${most} processes`;
  const own = bin.counts.get(subscription) ?? 0;
  if (packing.apart.nodes === "require" && own > 0)
    return `has one of ${subscription}, which are kept apart`;
  return `is in a zone that has enough of ${subscription}`;
}
