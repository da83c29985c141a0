import { decidePartition } from "@strata/controller/domain/autoscale/l2/decide";
import { INITIAL_L2_STATE } from "@strata/controller/domain/autoscale/l2/model";
import { planRebalance } from "@strata/controller/domain/autoscale/l2/rebalance";

import { assert, suite } from "../../support/suite.ts";
import {
  added,
  aNode,
  anOffer,
  aPartitionPolicy,
  aSituation,
  aSubscription,
  decideAt,
  idsOf,
  MINUTE,
  NOW,
  quarter,
} from "./l2-support.ts";

const many = (count: number, held: number, parts = {}) =>
  Array.from({ length: count }, (_, index) =>
    aNode(`n${String(index).padStart(3, "0")}`, held, parts),
  );

suite("removing nodes", (test) => {
  test("deletes a node that has been empty for a minute", () => {
    const situation = aSituation({
      nodes: [aNode("a", 4), aNode("b", 0)],
      subscriptions: [aSubscription(4)],
    });
    assert.equal(decideAt(situation, [NOW, NOW + MINUTE - 1]).actions, []);
    const gone = decideAt(situation, [NOW, NOW + MINUTE]);
    assert.equal(gone.actions, [{ kind: "delete", nodeId: "b", why: "empty" }]);
    assert.is(gone.desired, 1);
  });

  test("drains a little-used node after ten minutes if its processes fit elsewhere", () => {
    const subscriptions = [aSubscription(4)];
    const fits = aSituation({ nodes: [aNode("a", 3), aNode("b", 1)], subscriptions });
    assert.equal(decideAt(fits, [NOW, NOW + 10 * MINUTE - 1]).actions, []);
    assert.equal(decideAt(fits, [NOW, NOW + 10 * MINUTE]).actions, [
      { kind: "drain", nodeId: "b" },
    ]);
    const full = aSituation({
      nodes: [aNode("a", 4), aNode("b", 1)],
      subscriptions: [aSubscription(5)],
    });
    const kept = decideAt(full, [NOW, NOW + 10 * MINUTE]);
    assert.equal(kept.actions, []);
    assert.match(kept.reason, /have no room elsewhere/);
  });

  test("keeps the headroom and the forecast when it removes", () => {
    const nodes = [aNode("a", 3), aNode("b", 1)];
    const times = [NOW, NOW + 10 * MINUTE];
    const policy = aPartitionPolicy({ headroom: { percent: 25 } });
    assert.equal(
      decideAt(aSituation({ nodes, policy, subscriptions: [aSubscription(4)] }), times).actions,
      [],
    );
    const rising = [aSubscription(4, { atHorizon: 5 })];
    assert.equal(decideAt(aSituation({ nodes, subscriptions: rising }), times).actions, []);
  });

  test("removes nothing within ten minutes of an add", () => {
    const state = { ...INITIAL_L2_STATE, lastAddAt: NOW };
    const situation = aSituation({ nodes: [aNode("a", 0)], state });
    assert.equal(decideAt(situation, [NOW, NOW + 9 * MINUTE]).actions, []);
    assert.equal(idsOf(decideAt(situation, [NOW, NOW + 10 * MINUTE]).actions, "delete"), ["a"]);
  });

  test("removes at most a tenth at once, and one non-empty node", () => {
    const empty = aSituation({ nodes: many(30, 0) });
    assert.is(decideAt(empty, [NOW, NOW + MINUTE]).actions.length, 3);
    const little = aSituation({ nodes: many(30, 1), subscriptions: [aSubscription(30)] });
    assert.is(decideAt(little, [NOW, NOW + 10 * MINUTE]).actions.length, 1);
    const draining = aNode("z", 1, { status: "draining", drainedByScaler: true });
    const busy = aSituation({
      nodes: [...many(30, 1), draining],
      subscriptions: [aSubscription(31)],
    });
    assert.equal(decideAt(busy, [NOW, NOW + 10 * MINUTE]).actions, []);
  });

  test("drains the emptiest, deletes it when it is empty, and never goes below minNodes", () => {
    const small = { ...quarter, memoryBytes: quarter.memoryBytes / 2 };
    const nodes = [
      aNode("a", 1),
      aNode("b", 0, { held: [{ subscription: "web", size: small, count: 1 }] }),
      aNode("c", 2),
    ];
    const situation = aSituation({ nodes, subscriptions: [aSubscription(4)] });
    assert.equal(idsOf(decideAt(situation, [NOW, NOW + 10 * MINUTE]).actions, "drain"), ["b"]);
    const drained = aNode("b", 0, { status: "draining", drainedByScaler: true });
    assert.equal(decidePartition(aSituation({ nodes: [drained] })).actions, [
      { kind: "delete", nodeId: "b", why: "drained" },
    ]);
    const policy = aPartitionPolicy({ minNodes: 1 });
    assert.equal(
      decideAt(aSituation({ nodes: [aNode("a", 0)], policy }), [NOW, NOW + MINUTE]).actions,
      [],
    );
  });

  test("never removes nodes that joined by themselves or that an operator drains", () => {
    const nodes = [
      aNode("static", 0, { offer: null }),
      aNode("cordoned", 0, { status: "cordoned" }),
      aNode("by-hand", 0, { status: "draining" }),
    ];
    assert.equal(decideAt(aSituation({ nodes }), [NOW, NOW + 60 * MINUTE]).actions, []);
  });

  test("counts what is on a draining node as needing a place elsewhere", () => {
    const draining = aNode("b", 1, { status: "draining", drainedByScaler: true });
    const full = aSituation({
      nodes: [aNode("a", 4), draining],
      subscriptions: [aSubscription(5)],
    });
    assert.equal(decidePartition(full).actions, [{ kind: "cancel-drain", nodeId: "b" }]);
    const room = aSituation({
      nodes: [aNode("a", 3), draining],
      subscriptions: [aSubscription(4)],
    });
    assert.equal(decidePartition(room).actions, []);
  });

  test("uses a draining node again before it rents one", () => {
    const nodes = [aNode("a", 4), aNode("b", 1, { status: "draining", drainedByScaler: true })];
    const situation = aSituation({ nodes, subscriptions: [aSubscription(7)] });
    assert.equal(decidePartition(situation).actions, [{ kind: "cancel-drain", nodeId: "b" }]);
    const more = decidePartition({ ...situation, subscriptions: [aSubscription(12)] });
    assert.equal(more.actions, [
      { kind: "cancel-drain", nodeId: "b" },
      { kind: "add", offer: "lxd/small", count: 1 },
    ]);
  });
});

suite("breakers", (test) => {
  const lost = (count: number, total: number, awaySince = NOW - 11 * MINUTE) =>
    many(total, 0).map((node, index) =>
      index < count ? { ...node, status: "away" as const, awaySince } : node,
    );

  test("freeze everything when more than 45 % and more than three nodes are away", () => {
    const frozen = decidePartition(
      aSituation({ nodes: lost(5, 10), subscriptions: [aSubscription(99)] }),
    );
    assert.equal([frozen.actions, frozen.trace.frozen], [[], true]);
    assert.match(frozen.reason, /5 nodes are away at once/);
    assert.not(decidePartition(aSituation({ nodes: lost(3, 4) })).trace.frozen);
  });

  test("delete lost nodes for good only while at most 20 % are unhealthy", () => {
    const held = { policy: aPartitionPolicy({ remove: { emptyAfter: 3600 } }) };
    assert.equal(
      idsOf(decidePartition(aSituation({ ...held, nodes: lost(2, 10) })).actions, "delete"),
      ["n000", "n001"],
    );
    assert.equal(decidePartition(aSituation({ ...held, nodes: lost(3, 10) })).actions, []);
    assert.equal(
      decidePartition(aSituation({ ...held, nodes: lost(2, 10, NOW - MINUTE) })).actions,
      [],
    );
  });

  test("rent what is needed when 30 % of the nodes are lost at once, but delete none of them", () => {
    // The plan has given up what was on the lost three, so nothing is held there any more.
    const nodes = many(10, 4).map((node, index) =>
      index < 3
        ? { ...node, status: "away" as const, awaySince: NOW - 15 * MINUTE, held: [] }
        : node,
    );
    const { actions } = decidePartition(aSituation({ nodes, subscriptions: [aSubscription(40)] }));
    assert.equal(actions, [{ kind: "add", offer: "lxd/small", count: 3 }]);
  });
});

suite("keeping processes apart", (test) => {
  const needed = (packing: object, desired = 4) =>
    added(
      decidePartition(
        aSituation({
          policy: aPartitionPolicy({ packing }),
          subscriptions: [aSubscription(desired)],
        }),
      ).actions,
    )["lxd/small"];

  test("gives an exclusive process a node of its own", () => {
    assert.is(needed({ exclusive: true }), 4);
  });

  test("puts at most maxPerNode on a node", () => {
    assert.is(needed({ maxPerNode: 3 }), 2);
  });

  test("separates the processes of one subscription if that is required, and only then rents for it", () => {
    assert.equal(
      [needed({ apart: { nodes: "require" } }), needed({ apart: { nodes: "prefer" } })],
      [4, 1],
    );
  });

  test("spreads evenly over zones", () => {
    const offers = ["x", "y"].map((zone) => anOffer({ key: `lxd/small/${zone}`, zone }));
    const policy = aPartitionPolicy({ packing: { apart: { zones: "require" } } });
    const situation = aSituation({ offers, policy, subscriptions: [aSubscription(8)] });
    assert.equal(added(decidePartition(situation).actions), { "lxd/small/x": 1, "lxd/small/y": 1 });
    const only = decidePartition({
      ...situation,
      nodes: [aNode("n", 1, { zone: "x" })],
      subscriptions: [aSubscription(2)],
    });
    assert.equal(added(only.actions), { "lxd/small/y": 1 });
  });

  test("moves at most two processes to a node that joins, from where they are closest together", () => {
    const size = { cpuMillis: 100, memoryBytes: 1024 ** 2, pids: 10 };
    const crowd = { held: [{ subscription: "web", size, count: 9 }] };
    const nodes = [aNode("a", 0, crowd), aNode("b", 1), aNode("new", 0)];
    const policy = aPartitionPolicy({ packing: { apart: { nodes: "prefer" } } });
    assert.equal(planRebalance(nodes, "new", policy), [
      { subscription: "web", from: "a", to: "new" },
      { subscription: "web", from: "a", to: "new" },
    ]);
    assert.equal(planRebalance(nodes, "new", aPartitionPolicy()), []);
    assert.equal(planRebalance([aNode("a", 1), aNode("new", 0)], "new", policy), []);
  });
});
