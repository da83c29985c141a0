import type { Packing } from "@strata/controller/domain/autoscale/l2/bins";
import type { LayerHolders, PlacementRule } from "@strata/controller/domain/autoscale/l2/model";
import { type Candidate, sizeOf, type WaitingProcess } from "@strata/controller/domain/schedule";
import { PartitionPolicyInput } from "@strata/protocol/api/autoscale";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const zones = ["east", "north", "west"] as const;
/** Of one process. */
const sizes = [
  { cpuMaxMillis: 100, memoryMaxBytes: 64 * MIB, pidsMax: 64 },
  { cpuMaxMillis: 250, memoryMaxBytes: 256 * MIB, pidsMax: 128 },
  { cpuMaxMillis: 500, memoryMaxBytes: 512 * MIB, pidsMax: 256 },
  { cpuMaxMillis: 1000, memoryMaxBytes: 384 * MIB, pidsMax: 512 },
  { cpuMaxMillis: 2000, memoryMaxBytes: 1536 * MIB, pidsMax: 1024 },
] as const;
/** One subscription in two has a rule; the others go anywhere. */
const rules: readonly (PlacementRule | undefined)[] = [
  undefined,
  { architectures: ["amd64"], labels: { disk: "ssd" } },
  undefined,
  { architectures: ["amd64"], zones: ["east", "west"] },
  undefined,
  { architectures: ["amd64"], maxPerNode: 4 },
  undefined,
  { architectures: ["amd64"], apart: { nodes: "require", zones: "none" } },
  undefined,
  { architectures: ["amd64"], apart: { nodes: "prefer", zones: "prefer" } },
];

export const WAITING_PER_NODE = 10;
const IMAGES = 20;

/** Each image has some of its layers on one node in three, as much as the node's number says. */
export function someHolders(nodes: readonly Candidate[]): (image: string) => LayerHolders {
  const holders = Array.from({ length: IMAGES }, (_, image): LayerHolders => {
    const some = nodes.filter((_node, index) => index % 3 === image % 3);
    return { bytesOn: new Map(some.map(({ id }, index) => [id, index])), most: some.length - 1 };
  });
  return (image) =>
    holders[Number(image.slice("image-".length))] ?? { bytesOn: new Map(), most: 0 };
}

/** Nodes of three sizes in three zones, one in ten for arm64 and one in two with a fast disk, each partly full. */
export function someNodes(count: number): readonly Candidate[] {
  return Array.from({ length: count }, (_, index) => {
    const scale = 1 + (index % 3);
    const size = sizeOf(sizes[index % sizes.length] ?? sizes[0]);
    return {
      id: `node-${String(index).padStart(5, "0")}`,
      name: `n${index}`,
      partition: "web",
      zone: zones[index % zones.length] ?? null,
      architecture: index % 10 === 9 ? "arm64" : "amd64",
      labels: index % 2 === 0 ? { disk: "ssd" } : {},
      closed: undefined,
      starting: 0,
      capacity: { cpuMillis: 4000 * scale, memoryBytes: 8 * GIB * scale, pids: 32_768 },
      held: [{ subscription: `old-${index % 100}`, size, count: 1 + (index % 7) }],
    };
  });
}

/** So many processes of so many subscriptions. */
export function someWaiting(count: number, subscriptions: number): readonly WaitingProcess[] {
  return Array.from({ length: count }, (_, index) => {
    const own = index % subscriptions;
    const rule = rules[own % rules.length];
    return {
      id: `process-${String(index).padStart(6, "0")}`,
      partition: "web",
      subscription: `s-${own}`,
      limits: sizes[own % sizes.length] ?? sizes[0],
      hostPorts: [],
      image: `image-${own % IMAGES}`,
      ...(rule === undefined ? {} : { rule }),
    };
  });
}

/** Starts are no limit: the figures are of placing. */
export function packingBy(strategy: Packing["strategy"]): Packing {
  const { packing } = PartitionPolicyInput.parse({ packing: { strategy, startsAtOnce: 1000 } });
  return { ...packing, zones };
}
