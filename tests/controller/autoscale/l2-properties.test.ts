import { createBin, type Packing } from "@strata/controller/domain/autoscale/l2/bins";
import { decidePartition } from "@strata/controller/domain/autoscale/l2/decide";
import {
  INITIAL_L2_STATE,
  type L2Situation,
  type NodeView,
} from "@strata/controller/domain/autoscale/l2/model";
import { pack } from "@strata/controller/domain/autoscale/l2/pack";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";
import {
  aNode,
  anOffer,
  aPartitionPolicy,
  aSituation,
  MINUTE,
  nodeCapacity,
  NOW,
  quarter,
} from "./l2-support.ts";

const sizes = fc.record({
  cpuMillis: fc.integer({ min: 1, max: 4000 }),
  memoryBytes: fc.integer({ min: 1, max: nodeCapacity.memoryBytes }),
  pids: fc.integer({ min: 1, max: 4000 }),
});
const names = ["api", "jobs", "web"] as const;
const groups = fc.array(
  fc.record({
    subscription: fc.constantFrom(...names),
    size: sizes,
    count: fc.integer({ min: 0, max: 40 }),
  }),
  { maxLength: 6 },
);
const packings: fc.Arbitrary<Packing> = fc
  .record({
    strategy: fc.constantFrom("pack", "spread"),
    exclusive: fc.boolean(),
    maxPerNode: fc.constantFrom(undefined, 1, 3),
    nodes: fc.constantFrom("none", "prefer", "require"),
    zones: fc.constantFrom("none", "prefer", "require"),
  })
  .map(({ maxPerNode, nodes, zones, ...packing }) => ({
    ...aPartitionPolicy({
      packing: {
        ...packing,
        apart: { nodes, zones },
        ...(maxPerNode === undefined ? {} : { maxPerNode }),
      },
    }).packing,
    zones: ["x", "y"],
  }));
const zones = fc.constantFrom(null, "x", "y");

const bins = fc.array(zones, { maxLength: 8 }).map((list) =>
  list.map((zone, index) => ({
    id: `n${index}`,
    zone,
    capacity: nodeCapacity,
    held: [],
    ready: true,
  })),
);

/** A partition in any condition. */
const situations: fc.Arbitrary<L2Situation> = fc
  .record({
    nodes: fc.array(
      fc.record({
        status: fc.constantFrom(
          "launching",
          "booting",
          "ready",
          "cordoned",
          "draining",
          "away",
          "deleting",
        ),
        held: fc.integer({ min: 0, max: 4 }),
        age: fc.integer({ min: 0, max: 30 }),
        byScaler: fc.boolean(),
        own: fc.boolean(),
      }),
      { maxLength: 20 },
    ),
    desired: fc.integer({ min: 0, max: 90 }),
    atHorizon: fc.integer({ min: 0, max: 90 }),
    limits: fc.tuple(fc.integer({ min: 0, max: 25 }), fc.integer({ min: 0, max: 25 })),
    headroom: fc.constantFrom({ nodes: 1 }, { percent: 0 }, { percent: 30 }),
    resting: fc.boolean(),
  })
  .map(({ nodes, desired, atHorizon, limits, headroom, resting }) =>
    aSituation({
      policy: aPartitionPolicy({
        minNodes: Math.min(...limits),
        maxNodes: Math.max(...limits),
        headroom,
      }),
      offers: [anOffer(), anOffer({ key: "b/s", provider: "b", maxNodes: 5 })],
      nodes: nodes.map(({ status, held, age, byScaler, own }, index): NodeView => {
        const joined = status !== "launching" && status !== "booting";
        return aNode(`n${index}`, joined ? held : 0, {
          status,
          requestedAt: NOW - age * MINUTE,
          awaySince: status === "away" ? NOW - age * MINUTE : null,
          drainedByScaler: status === "draining" && byScaler,
          offer: own ? "lxd/small" : null,
        });
      }),
      subscriptions: [
        { name: "web", size: quarter, desired, atHorizon: Math.max(desired, atHorizon) },
      ],
      state: resting
        ? { ...INITIAL_L2_STATE, backOff: { lxd: { failures: 1, until: NOW + MINUTE } } }
        : INITIAL_L2_STATE,
    }),
  );

suite("properties of packing", (test) => {
  test("never puts more on a node than it has, and loses or invents nothing", () => {
    fc.assert(
      fc.property(groups, bins, packings, (wanted, nodes, packing) => {
        const packed = nodes.map((node) => createBin(node));
        const { placed, left } = pack(wanted, packed, packing);
        for (const { free } of packed) {
          assert.ok(free.cpuMillis >= 0 && free.memoryBytes >= 0 && free.pids >= 0);
        }
        const total = (list: readonly { readonly count: number }[]): number =>
          list.reduce((sum, { count }) => sum + count, 0);
        assert.is(total(placed) + total(left), total(wanted));
        assert.is(
          total(placed),
          packed.reduce((sum, bin) => sum + bin.total, 0),
        );
      }),
    );
  });

  test("keeps the rules for who may be beside whom", () => {
    fc.assert(
      fc.property(groups, bins, packings, (wanted, nodes, packing) => {
        const packed = nodes.map((node) => createBin(node));
        pack(wanted, packed, packing);
        for (const bin of packed) {
          if (packing.exclusive) assert.ok(bin.total <= 1);
          assert.ok(bin.total <= (packing.maxPerNode ?? Infinity));
          if (packing.apart.nodes === "require")
            for (const count of bin.counts.values()) assert.ok(count <= 1);
        }
      }),
    );
  });

  test("leaves nothing out that a node has room for", () => {
    fc.assert(
      fc.property(groups, bins, (wanted, nodes) => {
        const packing = { ...aPartitionPolicy().packing, zones: [] };
        const packed = nodes.map((node) => createBin(node));
        const { left } = pack(wanted, packed, packing);
        for (const group of left)
          assert.is(pack([{ ...group, count: 1 }], packed, packing).placed.length, 0);
      }),
    );
  });
});

suite("properties of level 2", (test) => {
  const staying = ({ nodes }: L2Situation): number =>
    nodes.filter(({ status }) => status !== "draining" && status !== "deleting").length;

  test("never rents beyond maxNodes or an offer's own limit", () => {
    fc.assert(
      fc.property(situations, (situation) => {
        const { actions } = decidePartition(situation);
        const total = actions.reduce(
          (sum, action) => sum + (action.kind === "add" ? action.count : 0),
          0,
        );
        assert.ok(
          total <= Math.max(0, situation.policy.maxNodes - staying(situation)) + overdue(situation),
        );
        for (const action of actions) {
          if (action.kind === "add" && action.offer === "b/s") assert.ok(action.count <= 5);
          if (action.kind === "add")
            assert.ok(situation.state.backOff.lxd === undefined || action.offer !== "lxd/small");
        }
      }),
    );
  });

  test("never adds and removes at once, and touches each node at most once", () => {
    fc.assert(
      fc.property(situations, (situation) => {
        const { actions } = decidePartition(situation);
        const ids = actions.flatMap((action) => (action.kind === "add" ? [] : [action.nodeId]));
        assert.is(new Set(ids).size, ids.length);
        const removes = actions.some(
          (action) =>
            action.kind === "drain" || (action.kind === "delete" && action.why === "empty"),
        );
        assert.not(
          removes && actions.some(({ kind }) => kind === "add" || kind === "cancel-drain"),
        );
      }),
    );
  });

  test("removes only what leaves room for every process and for the forecast", () => {
    fc.assert(
      fc.property(situations, (situation) => {
        const first = decidePartition({ ...situation, now: NOW - 20 * MINUTE });
        const { actions, trace } = decidePartition({
          ...situation,
          state: { ...first.state, lastAddAt: null },
        });
        const gone = new Set(
          actions.flatMap((action) =>
            action.kind === "drain" || (action.kind === "delete" && action.why === "empty")
              ? [action.nodeId]
              : [],
          ),
        );
        if (gone.size === 0) return;
        assert.ok(staying(situation) - gone.size >= situation.policy.minNodes);
        const packing = { ...situation.policy.packing, zones: [] };
        const rest = situation.nodes.filter(
          ({ id, status }) => status === "ready" && !gone.has(id),
        );
        const moved = situation.nodes.filter(({ id }) => gone.has(id)).flatMap(({ held }) => held);
        const needed = trace.demand.map(({ subscription, size, needed: count }) => ({
          subscription,
          size,
          count,
        }));
        const { left } = pack(
          [...moved, ...needed, ...trace.headroom],
          rest.map((node) => createBin({ ...node, ready: true })),
          packing,
        );
        assert.equal(left, []);
      }),
    );
  });

  test("never deletes a node that joined by itself, or one with processes on it", () => {
    fc.assert(
      fc.property(situations, (situation) => {
        const { actions } = decidePartition(situation);
        for (const action of actions) {
          if (action.kind !== "delete") continue;
          const node = situation.nodes.find(({ id }) => id === action.nodeId);
          if (action.why !== "never-joined") assert.is(node?.offer, "lxd/small");
          if (action.why === "empty" || action.why === "drained") assert.equal(node?.held, []);
        }
      }),
    );
  });

  test("asks for enough: with the nodes that it adds, everything fits", () => {
    fc.assert(
      fc.property(situations, (situation) => {
        const { actions, trace } = decidePartition(situation);
        if (trace.frozen || trace.unplaceable.length > 0) return;
        const more = actions.flatMap((action) =>
          action.kind === "add"
            ? Array.from({ length: action.count }, (_, index) => `${action.offer}-${index}`)
            : [],
        );
        const free = more.map((id) =>
          createBin({ id, zone: null, capacity: nodeCapacity, held: [], ready: true }),
        );
        const { left } = pack(trace.remainder, free, { ...situation.policy.packing, zones: [] });
        assert.equal(left, []);
      }),
    );
  });

  test("decides the same again, also after its state was written and read", () => {
    fc.assert(
      fc.property(situations, (situation) => {
        const once = decidePartition(situation);
        assert.equal(decidePartition(situation), once);
        const next = { ...situation, now: NOW + 11 * MINUTE };
        const restarted = JSON.parse(JSON.stringify(once.state));
        assert.equal(
          decidePartition({ ...next, state: restarted }),
          decidePartition({ ...next, state: once.state }),
        );
      }),
    );
  });
});

/** Nodes that are given up make room under maxNodes. */
function overdue({ nodes }: L2Situation): number {
  return nodes.filter(
    ({ status, requestedAt }) =>
      (status === "launching" && NOW - requestedAt >= 5 * MINUTE) ||
      (status === "booting" && NOW - requestedAt >= 15 * MINUTE),
  ).length;
}
