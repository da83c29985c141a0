/** Nodes and waiting processes with rules, for the pure scheduler. */
import type { Packing } from "@strata/controller/domain/autoscale/l2/bins";
import type { PlacementRule } from "@strata/controller/domain/autoscale/l2/model";
import {
  type Candidate,
  type PlacedProcess,
  sizeOf,
  type WaitingProcess,
} from "@strata/controller/domain/schedule";
import { PartitionPolicyInput } from "@strata/protocol/api/autoscale";
import fc from "fast-check";

export const OVERCOMMIT = 2;
export const zones = ["east", "west"] as const;

/** Starts are no limit unless a test says so. */
export function aPacking(fields: object = {}): Packing {
  const policy = PartitionPolicyInput.parse({ packing: { startsAtOnce: 1000, ...fields } });
  return { ...policy.packing, zones };
}

export function aNode(id: string, changes: Partial<Candidate> = {}): Candidate {
  return {
    id,
    name: id,
    partition: "web",
    zone: null,
    architecture: "amd64",
    labels: {},
    closed: undefined,
    starting: 0,
    capacity: { cpuMillis: 2000, memoryBytes: 1000, pids: 1000 },
    held: [],
    ...changes,
  };
}

export function someWaiting(
  count: number,
  changes: Partial<WaitingProcess> = {},
): readonly WaitingProcess[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `p-${String(index).padStart(3, "0")}`,
    partition: "web",
    subscription: "hi",
    limits: { memoryMaxBytes: 100, cpuMaxMillis: 100, pidsMax: 10 },
    hostPorts: [],
    ...changes,
  }));
}

/** As it is once the placed ones are there. */
export function fill(
  nodes: readonly Candidate[],
  waiting: readonly WaitingProcess[],
  placed: readonly PlacedProcess[],
): readonly Candidate[] {
  const byId = new Map(waiting.map((process) => [process.id, process]));
  return nodes.map((node) => {
    const here = placed.flatMap(({ processId, nodeId }) =>
      nodeId === node.id ? (byId.get(processId) ?? []) : [],
    );
    const held = here.map(({ subscription, limits, hostPorts }) => {
      return { subscription, size: sizeOf(limits), hostPorts, count: 1 };
    });
    return { ...node, held: [...node.held, ...held] };
  });
}

const apart = fc.constantFrom("none" as const, "prefer" as const, "require" as const);

export const anyRule: fc.Arbitrary<PlacementRule | undefined> = fc.option(
  fc.record(
    {
      architectures: fc.subarray(["amd64", "arm64"], { minLength: 1 }),
      labels: fc.constantFrom({}, { disk: "ssd" }),
      zones: fc.subarray([...zones], { minLength: 1 }),
      nodeId: fc.constantFrom("n-0", "n-1"),
      maxPerNode: fc.integer({ min: 1, max: 3 }),
      apart: fc.record({ nodes: apart, zones: apart }),
    },
    { requiredKeys: [] },
  ),
  { nil: undefined },
);

const sizes = fc.record({
  cpuMaxMillis: fc.integer({ min: 1, max: 3000 }),
  memoryMaxBytes: fc.integer({ min: 1, max: 800 }),
  pidsMax: fc.integer({ min: 1, max: 500 }),
});

/** All of a subscription are alike. */
export const anyWaiting: fc.Arbitrary<readonly WaitingProcess[]> = fc
  .array(
    fc.record({
      limits: sizes,
      hostPorts: fc.subarray(["tcp/80", "tcp/443"], { maxLength: 1 }),
      rule: anyRule,
      image: fc.constantFrom("one", "two"),
      count: fc.integer({ min: 1, max: 6 }),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .map((kinds) =>
    kinds.flatMap(({ count, rule, ...need }, kind) =>
      someWaiting(count, {
        subscription: `s-${kind}`,
        ...need,
        ...(rule === undefined ? {} : { rule }),
      }).map((process) => ({ ...process, id: `${kind}-${process.id}` })),
    ),
  );

export const anyNodes: fc.Arbitrary<readonly Candidate[]> = fc
  .array(
    fc.record({
      zone: fc.constantFrom(null, ...zones),
      architecture: fc.constantFrom("amd64", "arm64"),
      labels: fc.constantFrom({}, { disk: "ssd" }),
      closed: fc.constantFrom(undefined, undefined, "cordoned" as const, "away" as const),
      starting: fc.integer({ min: 0, max: 3 }),
      capacity: fc.record({
        cpuMillis: fc.integer({ min: 500, max: 4000 }),
        memoryBytes: fc.integer({ min: 300, max: 2000 }),
        pids: fc.integer({ min: 100, max: 2000 }),
      }),
      held: fc.array(
        fc.record({
          subscription: fc.constantFrom("s-0", "s-1", "other"),
          size: fc.constant({ cpuMillis: 10, memoryBytes: 10, pids: 10 }),
          hostPorts: fc.constantFrom([], ["tcp/80"]),
          count: fc.constant(1),
        }),
        { maxLength: 3 },
      ),
    }),
    { maxLength: 7 },
  )
  .map((nodes) => nodes.map((node, index) => aNode(`n-${index}`, node)));

export const anyPacking: fc.Arbitrary<Packing> = fc
  .record({
    strategy: fc.constantFrom("pack", "spread"),
    exclusive: fc.boolean(),
    maxPerNode: fc.integer({ min: 1, max: 8 }),
    apart: fc.record({ nodes: apart, zones: apart }),
  })
  .map((fields) => aPacking(fields));
