/** Which node each waiting process goes to: bin-packing, so that many processes share few machines. Pure. */
import type { Capacity, Limits } from "@strata/protocol/agent/messages";

import type { Problem } from "./process.ts";

export type Need = { readonly limits: Limits; readonly hostPorts: readonly string[] };
export type WaitingProcess = Need & { readonly id: string; readonly partition: string };

export type Candidate = {
  readonly id: string;
  readonly name: string;
  readonly partition: string;
  /** Why it takes nothing new; undefined when it does. */
  readonly closed: "cordoned" | "draining" | "away" | undefined;
  readonly capacity: Capacity;
  /** Limits of all processes that it holds. */
  readonly allocated: Capacity;
  /** `tcp/8080` for each port of the node that is spoken for. */
  readonly hostPorts: readonly string[];
};

export type SchedulingOptions = {
  /** Processors may be promised this many times over: they are shared fairly when they are short, memory is not. */
  readonly cpuOvercommit: number;
};

export type Schedule = {
  readonly placed: readonly { readonly processId: string; readonly nodeId: string }[];
  readonly unplaced: readonly { readonly processId: string; readonly problem: Problem }[];
};

/** Puts each process on the fullest node that has room, large ones first. The same input gives the same answer. */
export function schedule(
  waiting: readonly WaitingProcess[],
  candidates: readonly Candidate[],
  options: SchedulingOptions,
): Schedule {
  const bins = new Map<string, Bin[]>();
  for (const candidate of candidates) {
    const partition = bins.get(candidate.partition) ?? [];
    partition.push(createBin(candidate));
    bins.set(candidate.partition, partition);
  }
  const placed: Schedule["placed"][number][] = [];
  const unplaced: Schedule["unplaced"][number][] = [];
  for (const process of waiting.toSorted(largestFirst)) {
    const partition = bins.get(process.partition) ?? [];
    const bin = fullest(partition, process, options);
    if (bin === undefined) {
      unplaced.push({ processId: process.id, problem: explain(partition, process, options) });
    } else {
      take(bin, process);
      placed.push({ processId: process.id, nodeId: bin.node.id });
    }
  }
  return { placed, unplaced };
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

type Bin = {
  readonly node: Candidate;
  readonly hostPorts: Set<string>;
  cpuMillis: number;
  memoryBytes: number;
  pids: number;
};

function createBin(node: Candidate): Bin {
  const { cpuMillis, memoryBytes, pids } = node.allocated;
  return { node, hostPorts: new Set(node.hostPorts), cpuMillis, memoryBytes, pids };
}

function take(bin: Bin, { limits, hostPorts }: Need): void {
  bin.cpuMillis += limits.cpuMaxMillis;
  bin.memoryBytes += limits.memoryMaxBytes;
  bin.pids += limits.pidsMax;
  for (const port of hostPorts) bin.hostPorts.add(port);
}

/** Undefined when it fits. */
function obstacle(
  bin: Bin,
  { limits, hostPorts }: Need,
  { cpuOvercommit }: SchedulingOptions,
): string | undefined {
  const { capacity, closed } = bin.node;
  if (closed !== undefined) return `is ${closed}`;
  const never = neverFits(capacity, limits);
  if (never !== undefined) return `is too small: ${never}`;
  if (bin.memoryBytes + limits.memoryMaxBytes > capacity.memoryBytes)
    return `lacks memory: ${capacity.memoryBytes - bin.memoryBytes} of ${limits.memoryMaxBytes} bytes free`;
  if (bin.cpuMillis + limits.cpuMaxMillis > capacity.cpuMillis * cpuOvercommit)
    return `lacks cpu: ${capacity.cpuMillis * cpuOvercommit - bin.cpuMillis} of ${limits.cpuMaxMillis} thousandths free`;
  if (bin.pids + limits.pidsMax > capacity.pids)
    return `lacks pids: ${capacity.pids - bin.pids} of ${limits.pidsMax} free`;
  const port = hostPorts.find((wanted) => bin.hostPorts.has(wanted));
  return port === undefined ? undefined : `has no free port ${port}`;
}

function fullest(bins: readonly Bin[], need: Need, options: SchedulingOptions): Bin | undefined {
  let best: Bin | undefined;
  let bestFill = -1;
  for (const bin of bins) {
    if (obstacle(bin, need, options) !== undefined) continue;
    const fill = fillAfter(bin, need, options);
    if (
      fill > bestFill ||
      (fill === bestFill && best !== undefined && bin.node.id < best.node.id)
    ) {
      best = bin;
      bestFill = fill;
    }
  }
  return best;
}

/** Share of the scarcest resource in use once the process is there. */
function fillAfter(bin: Bin, { limits }: Need, { cpuOvercommit }: SchedulingOptions): number {
  const { capacity } = bin.node;
  return Math.max(
    (bin.memoryBytes + limits.memoryMaxBytes) / capacity.memoryBytes,
    (bin.cpuMillis + limits.cpuMaxMillis) / (capacity.cpuMillis * cpuOvercommit),
    (bin.pids + limits.pidsMax) / capacity.pids,
  );
}

const NODES_EXPLAINED_MAX = 5;

function explain(
  bins: readonly Bin[],
  process: WaitingProcess,
  options: SchedulingOptions,
): Problem {
  if (bins.length === 0)
    return {
      code: "NO_NODES",
      message: `partition ${process.partition} has no nodes; let one join with a token of POST /v1/join-tokens`,
    };
  const reasons = bins
    .slice(0, NODES_EXPLAINED_MAX)
    .map((bin) => `${bin.node.name} ${obstacle(bin, process, options) ?? "has room"}`);
  const more = bins.length - reasons.length;
  return {
    code: "NO_ROOM",
    message: `no node has room: ${reasons.join("; ")}${more > 0 ? `; and ${more} more` : ""}`,
  };
}

function largestFirst(left: WaitingProcess, right: WaitingProcess): number {
  return (
    right.limits.memoryMaxBytes - left.limits.memoryMaxBytes ||
    right.limits.cpuMaxMillis - left.limits.cpuMaxMillis ||
    (left.id < right.id ? -1 : 1)
  );
}
