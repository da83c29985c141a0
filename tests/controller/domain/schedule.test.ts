import type { Packing } from "@strata/controller/domain/autoscale/l2/bins";
import { decidePartition } from "@strata/controller/domain/autoscale/l2/decide";
import { type Held, INITIAL_L2_STATE } from "@strata/controller/domain/autoscale/l2/model";
import { neverFits } from "@strata/controller/domain/obstacle";
import {
  type Candidate,
  promisedCapacity,
  schedule,
  sizeOf,
  type WaitingProcess,
} from "@strata/controller/domain/schedule";
import { PartitionPolicyInput } from "@strata/protocol/api/autoscale";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";
import { anyRule } from "../placement/support.ts";

/** Starts are no limit unless a test says so. */
function packing(fields: object = {}, zones: readonly string[] = []): Packing {
  const policy = PartitionPolicyInput.parse({ packing: { startsAtOnce: 1000, ...fields } });
  return { ...policy.packing, zones };
}

const options = { cpuOvercommit: 2, packingOf: () => packing() };

/** What takes so much of a node, and these ports. */
function aHolder(memoryBytes: number, hostPorts: readonly string[] = []): Held {
  const size = { cpuMillis: 1, memoryBytes, pids: 1 };
  return { subscription: "other", size, hostPorts, count: 1 };
}

function aNode(changes: Partial<Candidate> = {}): Candidate {
  return {
    id: "n-1",
    name: "one",
    partition: "web",
    closed: undefined,
    starting: 0,
    capacity: { cpuMillis: 2000, memoryBytes: 1000, pids: 1000 },
    zone: null,
    held: [],
    ...changes,
  };
}

function aWaiting(changes: Partial<WaitingProcess> & { memory?: number } = {}): WaitingProcess {
  const { memory = 100, ...rest } = changes;
  return {
    id: "p-1",
    partition: "web",
    subscription: "hi",
    limits: { memoryMaxBytes: memory, cpuMaxMillis: 100, pidsMax: 10 },
    hostPorts: [],
    ...rest,
  };
}

const anyNodes = fc
  .array(
    fc.record({
      partition: fc.constantFrom("web", "php"),
      closed: fc.constantFrom(undefined, undefined, "cordoned" as const, "away" as const),
      capacity: fc.record({
        cpuMillis: fc.integer({ min: 1, max: 4000 }),
        memoryBytes: fc.integer({ min: 1, max: 1000 }),
        pids: fc.integer({ min: 1, max: 1000 }),
      }),
      held: fc
        .subarray(["tcp/80", "tcp/443"])
        .map((ports) => (ports.length === 0 ? [] : [aHolder(1, ports)])),
    }),
    { maxLength: 6 },
  )
  .map((nodes) =>
    nodes.map((node, index) => aNode({ ...node, id: `n-${index}`, name: `n${index}` })),
  );
const anyWaiting = fc
  .array(
    fc.record({
      partition: fc.constantFrom("web", "php", "none"),
      subscription: fc.constantFrom("hi", "yo", "ho"),
      limits: fc.record({
        cpuMaxMillis: fc.integer({ min: 1, max: 3000 }),
        memoryMaxBytes: fc.integer({ min: 1, max: 800 }),
        pidsMax: fc.integer({ min: 1, max: 500 }),
      }),
      hostPorts: fc.subarray(["tcp/80", "tcp/443", "udp/53"]),
    }),
    { maxLength: 20 },
  )
  .map((all) => all.map((one, index) => ({ ...one, id: `p-${index}` })));

suite("schedule", (test) => {
  test("answers for each process exactly once, and never places beyond a node's capacity", () => {
    fc.assert(
      fc.property(anyWaiting, anyNodes, (waiting, nodes) => {
        const { placed, unplaced } = schedule(waiting, nodes, options);
        const ids = [...placed, ...unplaced].map(({ processId }) => processId).toSorted();
        assert.equal(ids, waiting.map(({ id }) => id).toSorted());
        for (const node of nodes) {
          const here = waiting.filter(({ id }) =>
            placed.some(({ processId, nodeId }) => processId === id && nodeId === node.id),
          );
          const sum = (of: (one: WaitingProcess) => number): number =>
            here.reduce((total, one) => total + of(one), 0);
          assert.ok(sum(({ limits }) => limits.memoryMaxBytes) <= node.capacity.memoryBytes);
          assert.ok(sum(({ limits }) => limits.pidsMax) <= node.capacity.pids);
          assert.ok(sum(({ limits }) => limits.cpuMaxMillis) <= node.capacity.cpuMillis * 2);
          const taken = node.held.flatMap(({ hostPorts = [] }) => hostPorts);
          const ports = [...taken, ...here.flatMap(({ hostPorts }) => hostPorts)];
          if (here.length > 0) assert.is(new Set(ports).size, ports.length);
          assert.ok(here.length === 0 || node.closed === undefined);
          assert.ok(here.every(({ partition }) => partition === node.partition));
        }
      }),
      { numRuns: 300 },
    );
  });

  test("answers the same whatever the order of its input", () => {
    fc.assert(
      fc.property(anyWaiting, anyNodes, (waiting, nodes) => {
        const sorted = (one: ReturnType<typeof schedule>): string[] =>
          one.placed.map((placement) => JSON.stringify(placement)).toSorted();
        assert.equal(
          sorted(schedule(waiting, nodes, options)),
          sorted(schedule(waiting.toReversed(), nodes.toReversed(), options)),
        );
      }),
    );
  });

  test("never leaves a process without a place that some node has room for at the end", () => {
    fc.assert(
      fc.property(anyWaiting, anyNodes, (waiting, nodes) => {
        const { placed, unplaced } = schedule(waiting, nodes, options);
        const left = waiting.filter(({ id }) => unplaced.some(({ processId }) => processId === id));
        const filled = nodes.map((node) => fill(node, waiting, placed));
        assert.equal(schedule(left, filled, options).placed, []);
      }),
    );
  });

  test("fills one node before it begins another", () => {
    const nodes = [aNode({ id: "n-1" }), aNode({ id: "n-2" })];
    const waiting = Array.from({ length: 10 }, (_, index) => aWaiting({ id: `p-${index}` }));
    const used = new Set(schedule(waiting, nodes, options).placed.map(({ nodeId }) => nodeId));
    assert.is(used.size, 1);
  });

  test("says of each node why it does not take the process", () => {
    const nodes = [
      aNode({ id: "n-1", name: "full", held: [aHolder(950)] }),
      aNode({ id: "n-2", name: "shut", closed: "cordoned" }),
      aNode({
        id: "n-3",
        name: "small",
        capacity: { cpuMillis: 50, memoryBytes: 1000, pids: 100 },
      }),
      aNode({ id: "n-4", name: "taken", held: [aHolder(1, ["tcp/80"])] }),
    ];
    const [reason] = schedule([aWaiting({ hostPorts: ["tcp/80"] })], nodes, options).unplaced;
    assert.is(reason?.problem.code, "NO_ROOM");
    assert.is(
      reason?.problem.message,
      "no node has room: full lacks memory: 50 of 100 bytes free; shut is cordoned; " +
        "small is too small: cpu 100 of 50 thousandths; taken has no free port tcp/80",
    );
  });
});

suite("schedule by a policy", (test) => {
  const four = ["a", "b", "c", "d"].map((id) =>
    aNode({ id, name: id, zone: id < "c" ? "east" : "west" }),
  );
  const place = (count: number, fields: object): readonly string[] => {
    const waiting = Array.from({ length: count }, (_, index) => aWaiting({ id: `p-${index}` }));
    const rules = { ...options, packingOf: () => packing(fields, ["east", "west"]) };
    return schedule(waiting, four, rules)
      .placed.map(({ nodeId }) => nodeId)
      .toSorted();
  };

  test("exclusive puts one process on a node, maxPerNode as many as it says", () => {
    assert.equal(place(6, { exclusive: true }), ["a", "b", "c", "d"]);
    assert.equal(place(5, { maxPerNode: 2 }), ["a", "a", "b", "b", "c"]);
  });

  test("spread takes the emptiest node, pack the fullest", () => {
    assert.equal(place(4, { strategy: "spread" }), ["a", "b", "c", "d"]);
    assert.equal(place(4, { strategy: "pack" }), ["a", "a", "a", "a"]);
  });

  test("apart over nodes and zones, required or only preferred", () => {
    assert.equal(place(6, { apart: { nodes: "require" } }), ["a", "b", "c", "d"]);
    assert.equal(place(5, { apart: { nodes: "prefer" } }).length, 5);
    const zones = place(4, { apart: { zones: "require" } });
    assert.is(zones.filter((id) => id < "c").length, 2);
  });

  test("says which rule keeps a process out", () => {
    const waiting = [aWaiting({ id: "p-1" }), aWaiting({ id: "p-2" })];
    const rules = { ...options, packingOf: () => packing({ apart: { nodes: "require" } }) };
    const [left] = schedule(waiting, [aNode()], rules).unplaced;
    assert.match(left?.problem.message ?? "", /one has one of hi, which are kept apart/);
  });
});

const anyPacking = fc.record({
  strategy: fc.constantFrom("pack", "spread"),
  exclusive: fc.boolean(),
  maxPerNode: fc.integer({ min: 1, max: 6 }),
  apart: fc.record({
    nodes: fc.constantFrom("none", "prefer", "require"),
    zones: fc.constantFrom("none", "prefer", "require"),
  }),
});
/** What the processes of each subscription need: all of one are alike. */
const anyKinds = fc.array(
  fc.record({
    limits: fc.record({
      cpuMaxMillis: fc.integer({ min: 1, max: 3000 }),
      memoryMaxBytes: fc.integer({ min: 1, max: 800 }),
      pidsMax: fc.integer({ min: 1, max: 500 }),
    }),
    hostPorts: fc.subarray(["tcp/80", "tcp/443"]),
    rule: anyRule,
    count: fc.integer({ min: 1, max: 6 }),
  }),
  { minLength: 1, maxLength: 4 },
);

suite("level 2 and the scheduler", (test) => {
  test("agree on what fits, whatever the policy", () => {
    fc.assert(
      fc.property(anyKinds, anyNodes, anyPacking, (kinds, nodes, fields) => {
        const zones = ["east", "west"];
        const open = nodes.map((node, index) => ({
          ...node,
          partition: "web",
          closed: undefined,
          zone: zones[index % 2] ?? null,
          architecture: index % 3 === 0 ? "arm64" : "amd64",
          labels: index % 4 === 0 ? {} : { disk: "ssd" },
        }));
        const waiting = kinds.flatMap(({ count, rule, ...need }, kind) =>
          Array.from({ length: count }, (_, index) =>
            aWaiting({
              ...need,
              ...(rule === undefined ? {} : { rule }),
              id: `p-${kind}-${index}`,
              subscription: `s-${kind}`,
            }),
          ),
        );
        const { unplaced } = schedule(waiting, open, {
          ...options,
          packingOf: () => packing(fields, zones),
        });
        const { trace } = decidePartition({
          policy: PartitionPolicyInput.parse({
            packing: fields,
            providers: zones.map((zone) => ({ provider: "cloud", flavor: "small", zone })),
          }),
          // Nothing can be added, but the zones are known.
          offers: zones.map((zone) => {
            const { capacity } = aNode();
            return { key: zone, provider: "cloud", zone, capacity, price: 0, maxNodes: 0 };
          }),
          nodes: open.map((node) => ({
            id: node.id,
            status: "ready",
            offer: null,
            zone: node.zone,
            architecture: node.architecture,
            labels: node.labels,
            ...promisedCapacity(node.capacity, options.cpuOvercommit),
            requestedAt: 0,
            awaySince: null,
            drainedByScaler: false,
            held: node.held,
          })),
          subscriptions: kinds.map(({ limits, hostPorts, rule, count }, kind) => {
            const size = sizeOf(limits);
            const own = rule === undefined ? {} : { rule };
            return { name: `s-${kind}`, size, hostPorts, ...own, desired: count, atHorizon: count };
          }),
          state: INITIAL_L2_STATE,
          now: 0,
        });
        const missing = trace.remainder.reduce((sum, { count }) => sum + count, 0);
        assert.is(unplaced.length, missing);
      }),
      { numRuns: 500 },
    );
  });
});

suite("neverFits", (test) => {
  test("looks at the whole node, and does not promise processors twice to one process", () => {
    const { capacity } = aNode();
    assert.is(neverFits(capacity, aWaiting().limits), undefined);
    assert.match(
      neverFits(capacity, aWaiting({ memory: 1001 }).limits) ?? "",
      /memory 1001 of 1000/,
    );
    const wide = { memoryMaxBytes: 1, cpuMaxMillis: 2001, pidsMax: 1 };
    assert.match(neverFits(capacity, wide) ?? "", /cpu 2001 of 2000/);
  });
});

function fill(
  node: Candidate,
  waiting: readonly WaitingProcess[],
  placed: ReturnType<typeof schedule>["placed"],
): Candidate {
  const here = waiting.filter(({ id }) =>
    placed.some(({ processId, nodeId }) => processId === id && nodeId === node.id),
  );
  return {
    ...node,
    held: [
      ...node.held,
      ...here.map(({ subscription, limits, hostPorts }) => {
        return { subscription, size: sizeOf(limits), hostPorts, count: 1 };
      }),
    ],
  };
}
