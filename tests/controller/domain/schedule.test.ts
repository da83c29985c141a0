import {
  type Candidate,
  neverFits,
  schedule,
  type WaitingProcess,
} from "@strata/controller/domain/schedule";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

const options = { cpuOvercommit: 2 };
const nothing = { cpuMillis: 0, memoryBytes: 0, pids: 0 };

function aNode(changes: Partial<Candidate> = {}): Candidate {
  return {
    id: "n-1",
    name: "one",
    partition: "web",
    closed: undefined,
    capacity: { cpuMillis: 2000, memoryBytes: 1000, pids: 1000 },
    allocated: nothing,
    hostPorts: [],
    ...changes,
  };
}

function aWaiting(changes: Partial<WaitingProcess> & { memory?: number } = {}): WaitingProcess {
  const { memory = 100, ...rest } = changes;
  return {
    id: "p-1",
    partition: "web",
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
      hostPorts: fc.subarray(["tcp/80", "tcp/443"]),
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
          const ports = [...node.hostPorts, ...here.flatMap(({ hostPorts }) => hostPorts)];
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
      aNode({ id: "n-1", name: "full", allocated: { ...nothing, memoryBytes: 950 } }),
      aNode({ id: "n-2", name: "shut", closed: "cordoned" }),
      aNode({
        id: "n-3",
        name: "small",
        capacity: { cpuMillis: 50, memoryBytes: 1000, pids: 100 },
      }),
      aNode({ id: "n-4", name: "taken", hostPorts: ["tcp/80"] }),
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
    hostPorts: [...node.hostPorts, ...here.flatMap(({ hostPorts }) => hostPorts)],
    allocated: {
      cpuMillis: here.reduce((sum, { limits }) => sum + limits.cpuMaxMillis, 0),
      memoryBytes: here.reduce((sum, { limits }) => sum + limits.memoryMaxBytes, 0),
      pids: here.reduce((sum, { limits }) => sum + limits.pidsMax, 0),
    },
  };
}
