import { decidePartition } from "@strata/controller/domain/autoscale/l2/decide";
import { INITIAL_L2_STATE, type L2Situation } from "@strata/controller/domain/autoscale/l2/model";
import {
  promisedCapacity,
  schedule,
  type SchedulingOptions,
} from "@strata/controller/domain/schedule";
import { PartitionPolicyInput } from "@strata/protocol/api/autoscale";

import type { Bench, BenchContext, Result } from "./bench.ts";
import { goalFloor, summarize } from "./measure.ts";
import {
  packingBy,
  someHolders,
  someNodes,
  someWaiting,
  WAITING_PER_NODE,
} from "./waiting-fleet.ts";

const nodeCounts = [100, 300, 1000, 3000, 5000] as const;
/** As a rule that many processes wait together. */
const PROCESSES_PER_SUBSCRIPTION = 25;
const PLACEMENTS_PER_SECOND_MIN = 20_000;
/** Processors are shared; memory is what runs out. */
const CPU_OVERCOMMIT = 8;

/** The pure scheduler alone: no database, no protocol. Half of the subscriptions have rules of their own, and one
 * node in three has layers of their images. */
export const bench: Bench = {
  name: "scheduler",
  summary:
    "Placements a second of the processor's time, ten waiting processes for each node, in five sizes, with rules and layers; no other scheduler runs without its cluster",
  rounds: 5,
  run: async (context) => {
    const packed = nodeCounts.map((nodes) => measurePlacing(nodes, { strategy: "pack" }, context));
    const largest = nodeCounts[nodeCounts.length - 1] ?? 0;
    const spread = measurePlacing(largest, { strategy: "spread" }, context);
    const single = measurePlacing(largest, { strategy: "pack", each: 1 }, context);
    const goals = [...packed.slice(-1), spread, single].map((result) =>
      goalFloor(result, PLACEMENTS_PER_SECOND_MIN),
    );
    return { results: [...packed, spread, single, measureLevelTwo(context)], goals };
  },
};

type Placing = { readonly strategy: "pack" | "spread"; readonly each?: number };

function measurePlacing(
  nodes: number,
  { strategy, each = PROCESSES_PER_SUBSCRIPTION }: Placing,
  { rounds, say }: BenchContext,
): Result {
  const candidates = someNodes(nodes);
  const count = nodes * WAITING_PER_NODE;
  const waiting = someWaiting(count, Math.ceil(count / each));
  const packing = packingBy(strategy);
  const holdersOf = someHolders(candidates);
  const options: SchedulingOptions = {
    cpuOvercommit: CPU_OVERCOMMIT,
    packingOf: () => packing,
    holdersOf: (_partition, image) => holdersOf(image),
  };
  const figures: number[] = [];
  // The first round warms up.
  for (let round = 0; round <= rounds; round += 1) {
    let placed = 0;
    const seconds = processorSeconds(() => {
      placed = schedule(waiting, candidates, options).placed.length;
    });
    if (placed < count * 0.9) throw new Error(`only ${placed} of ${count} found a place`);
    if (round > 0) figures.push(placed / seconds);
  }
  const kind = each === 1 ? `${strategy}, all different` : strategy;
  say(`${nodes} nodes, ${kind}: done`);
  const what = `${nodes} nodes, ${count} processes, ${kind}`;
  return summarize(what, "placements/s", new Map([["strata", figures]]));
}

/** A look at 1,000 nodes with a tenth more processes than they hold. */
function measureLevelTwo({ rounds }: BenchContext): Result {
  const situation = aSituation(1000);
  const figures: number[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const seconds = processorSeconds(() => void decidePartition(situation));
    if (round > 0) figures.push(seconds * 1000);
  }
  return summarize("level 2 decides on 1000 nodes", "ms", new Map([["strata", figures]]));
}

function aSituation(nodes: number): L2Situation {
  const candidates = someNodes(nodes);
  const waiting = someWaiting(nodes * WAITING_PER_NODE, nodes);
  const subscriptions = waiting.slice(0, nodes).map(({ subscription, limits, rule }) => ({
    name: subscription,
    size: {
      cpuMillis: limits.cpuMaxMillis,
      memoryBytes: limits.memoryMaxBytes,
      pids: limits.pidsMax,
    },
    ...(rule === undefined ? {} : { rule }),
    desired: WAITING_PER_NODE,
    atHorizon: WAITING_PER_NODE,
  }));
  return {
    policy: PartitionPolicyInput.parse({ maxNodes: 2 * nodes }),
    offers: [],
    nodes: candidates.map(({ capacity, name: _name, partition: _partition, ...node }) => ({
      ...node,
      ...promisedCapacity(capacity, CPU_OVERCOMMIT),
      status: "ready",
      offer: null,
      requestedAt: 0,
      awaySince: null,
      drainedByScaler: false,
    })),
    subscriptions,
    state: INITIAL_L2_STATE,
    now: 0,
  };
}

/** Time of the processor, which other work on the machine does not change much. */
function processorSeconds(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}
