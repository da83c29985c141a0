/** Why a node does not take a process, in the order in which it is looked for. Pure. */
import type { Capacity, Limits } from "@strata/protocol/agent/messages";
import type { ObstacleCode } from "@strata/protocol/api/placement";

import {
  type Bin,
  findBar,
  type Packing,
  permits,
  type Terms,
  termsOf,
  type Wanted,
} from "./autoscale/l2/bins.ts";
import type { PlacementRule } from "./autoscale/l2/model.ts";

export type Obstacle = {
  readonly code: ObstacleCode;
  /** Goes on after the node's name: `lacks memory: 50 of 100 bytes free`. */
  readonly text: string;
};

export type NodeBefore = {
  readonly closed: "cordoned" | "draining" | "away" | undefined;
  /** As its agent reports it. */
  readonly capacity: Capacity;
  /** Processes that are about to run there. */
  readonly starting: number;
};

export type Judged = {
  readonly bin: Bin;
  readonly node: NodeBefore;
  readonly packing: Packing;
  /** Bins of the partition that take anything at all, this one among them. */
  readonly open: readonly Bin[];
};

/** The first thing that keeps a process of the group from the node; undefined when nothing does. */
export function findObstacle(
  { bin, node, packing, open }: Judged,
  wanted: Wanted,
): Obstacle | undefined {
  if (node.closed !== undefined) return { code: "CLOSED", text: `is ${node.closed}` };
  const terms = termsOf(wanted, packing);
  const { rule } = wanted;
  return (
    (rule === undefined ? undefined : findRuleObstacle(bin, rule)) ??
    findSizeObstacle(bin, node.capacity, terms) ??
    findCompanyObstacle(bin, packing, terms) ??
    findZoneObstacle(bin, { packing, open }, terms) ??
    findStartObstacle(node, packing)
  );
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

function findStartObstacle(
  { starting }: Pick<NodeBefore, "starting">,
  { startsAtOnce }: Packing,
): Obstacle | undefined {
  if (starting < startsAtOnce) return undefined;
  const text = `starts ${starting} processes already, at most ${startsAtOnce} at once`;
  return { code: "STARTS", text };
}

function findRuleObstacle(bin: Bin, rule: PlacementRule): Obstacle | undefined {
  const bar = findBar(bin, rule);
  switch (bar) {
    case "node":
      return { code: "OTHER_NODE", text: "is not the node that has its volumes" };
    case "architecture":
      return {
        code: "ARCHITECTURE",
        text: `is ${bin.architecture}, it needs ${rule.architectures?.join(" or ")}`,
      };
    case "zone":
      return {
        code: "ZONE",
        text: `is in ${bin.zone === null ? "no zone" : `zone ${bin.zone}`}, it needs ${rule.zones?.join(" or ")}`,
      };
    case "labels": {
      const [name, value] =
        Object.entries(rule.labels ?? {}).find(([key, wanted]) => bin.labels?.[key] !== wanted) ??
        [];
      return { code: "LABELS", text: `lacks the label ${name}=${value}` };
    }
    case undefined:
      return undefined;
    default:
      return bar satisfies never;
  }
}

function findSizeObstacle(bin: Bin, capacity: Capacity, { size }: Terms): Obstacle | undefined {
  const { cpuMillis, memoryBytes, pids } = size;
  const limits = { cpuMaxMillis: cpuMillis, memoryMaxBytes: memoryBytes, pidsMax: pids };
  const never = neverFits(capacity, limits);
  if (never !== undefined) return { code: "TOO_SMALL", text: `is too small: ${never}` };
  const { free } = bin;
  if (free.memoryBytes < memoryBytes)
    return {
      code: "MEMORY",
      text: `lacks memory: ${free.memoryBytes} of ${memoryBytes} bytes free`,
    };
  if (free.cpuMillis < cpuMillis)
    return { code: "CPU", text: `lacks cpu: ${free.cpuMillis} of ${cpuMillis} thousandths free` };
  if (free.pids < pids) return { code: "PIDS", text: `lacks pids: ${free.pids} of ${pids} free` };
  return undefined;
}

/** What is on the node already. */
function findCompanyObstacle(bin: Bin, packing: Packing, terms: Terms): Obstacle | undefined {
  const { subscription, hostPorts = [], apart, mostInAll, mostOwn } = terms;
  const port = hostPorts.find((wanted) => bin.hostPorts.has(wanted));
  if (port !== undefined) return { code: "HOST_PORT", text: `has no free port ${port}` };
  if (bin.total >= mostInAll)
    return {
      code: packing.exclusive ? "EXCLUSIVE" : "MAX_PER_NODE",
      text: `has its ${mostInAll} of at most ${mostInAll} processes`,
    };
  const own = bin.counts.get(subscription) ?? 0;
  if (own < mostOwn) return undefined;
  return apart.nodes === "require"
    ? { code: "APART", text: `has one of ${subscription}, which are kept apart` }
    : { code: "MAX_PER_NODE", text: `has its ${mostOwn} of at most ${mostOwn} of ${subscription}` };
}

/** Zones have to fill evenly: one that has more than another waits for it. */
function findZoneObstacle(
  bin: Bin,
  { packing, open }: Pick<Judged, "packing" | "open">,
  { subscription, apart, rule }: Terms,
): Obstacle | undefined {
  if (apart.zones !== "require") return undefined;
  const counts = new Map<string | null, number>();
  for (const zone of packing.zones) if (rule?.zones?.includes(zone) ?? true) counts.set(zone, 0);
  for (const other of open) if (permits(other, rule)) counts.set(other.zone, 0);
  for (const { zone, counts: own } of open) {
    const before = counts.get(zone);
    if (before !== undefined) counts.set(zone, before + (own.get(subscription) ?? 0));
  }
  const isLeast = (counts.get(bin.zone) ?? 0) <= Math.min(...counts.values());
  return isLeast
    ? undefined
    : { code: "APART", text: `is in a zone that has enough of ${subscription}` };
}
