import { decidePartition } from "@strata/controller/domain/autoscale/l2/decide";
import { planRebalance } from "@strata/controller/domain/autoscale/l2/rebalance";

import { assert, suite } from "../../support/suite.ts";
import {
  added,
  aNode,
  anOffer,
  aPartitionPolicy,
  aSituation,
  aSubscription,
  idsOf,
  MINUTE,
  NOW,
  quarter,
} from "./l2-support.ts";

const ssd = anOffer({ key: "lxd/fast", labels: { disk: "ssd" } });
const wantsSsd = { rule: { labels: { disk: "ssd" } } };

suite("level 2 and the placement of subscriptions", (test) => {
  test("adds nodes of the offer that the placement allows, though others come first", () => {
    const offers = [anOffer(), ssd];
    const subscriptions = [aSubscription(8, wantsSsd)];
    const { actions } = decidePartition(aSituation({ offers, subscriptions }));
    assert.equal(added(actions), { "lxd/fast": 2 });
  });

  test("adds nothing where room is only where the placement forbids it and no offer helps", () => {
    const offers = [anOffer({ architecture: "amd64" })];
    for (const rule of [
      { labels: { disk: "ssd" } },
      { architectures: ["arm64"] },
      { zones: ["west"] },
    ]) {
      const subscriptions = [aSubscription(4, { rule })];
      const decision = decidePartition(
        aSituation({ offers, subscriptions, nodes: [aNode("n", 0, { architecture: "amd64" })] }),
      );
      assert.equal(added(decision.actions), {});
      assert.match(decision.reason, /no offer makes nodes that the placement of web allows/);
    }
  });

  test("an offer of which no node has shown its architecture yet may be of any", () => {
    const subscriptions = [aSubscription(4, { rule: { architectures: ["arm64"] } })];
    const { actions } = decidePartition(aSituation({ subscriptions }));
    assert.equal(added(actions), { "lxd/small": 1 });
  });

  test("counts the processes that a node may have of one subscription", () => {
    const subscriptions = [aSubscription(6, { rule: { maxPerNode: 2 } })];
    const { actions } = decidePartition(aSituation({ subscriptions }));
    assert.equal(added(actions), { "lxd/small": 3 });
  });

  test("keeps a subscription apart that asks for it, and no other", () => {
    const apart = { nodes: "require", zones: "none" } as const;
    const subscriptions = [
      aSubscription(3, { rule: { apart } }),
      aSubscription(3, { name: "jobs" }),
    ];
    const { actions } = decidePartition(aSituation({ subscriptions }));
    assert.equal(added(actions), { "lxd/small": 3 });
  });

  test("opens no node that would stay empty because another zone has to come first", () => {
    const zoned = { nodes: "none", zones: "require" } as const;
    const offers = [
      anOffer({ key: "lxd/x", zone: "x", maxNodes: 0 }),
      anOffer({ key: "lxd/y", zone: "y" }),
    ];
    const subscriptions = [aSubscription(6, { rule: { apart: zoned } })];
    const nodes = [aNode("n", 1, { zone: "y" })];
    const { actions, trace } = decidePartition(aSituation({ offers, subscriptions, nodes }));
    assert.equal(added(actions), {});
    assert.is(trace.remainder[0]?.count, 5);
  });

  test("drains no node whose processes may be nowhere else", () => {
    const held = [{ subscription: "web", size: quarter, count: 1, ...wantsSsd }];
    const little = aNode("fast", 0, { held, labels: { disk: "ssd" }, requestedAt: 0 });
    const subscriptions = [aSubscription(1, wantsSsd)];
    const policy = aPartitionPolicy({ remove: { belowAfter: 0, afterAdd: 0, percentAtOnce: 100 } });
    const situation = aSituation({ policy, nodes: [little, aNode("other", 2)], subscriptions });
    const drains = (nodes: typeof situation.nodes): readonly string[] => {
      const first = decidePartition({ ...situation, nodes });
      const later = { ...situation, nodes, state: first.state, now: NOW + 30 * MINUTE };
      return [...idsOf(first.actions, "drain"), ...idsOf(decidePartition(later).actions, "drain")];
    };
    assert.equal(drains(situation.nodes), []);
    const anywhere = { ...little, held: [{ subscription: "web", size: quarter, count: 1 }] };
    assert.ok(drains([anywhere, aNode("other", 2)]).includes("fast"));
  });
});

suite("rebalance", (test) => {
  const apart = { nodes: "prefer", zones: "none" } as const;
  const crowded = (rule: object | undefined): ReturnType<typeof aNode> =>
    aNode("a", 0, {
      held: [
        { subscription: "web", size: quarter, count: 3, ...(rule === undefined ? {} : { rule }) },
      ],
    });

  test("moves what its subscription wants apart, whatever the policy says of others", () => {
    const policy = aPartitionPolicy();
    assert.is(planRebalance([crowded({ apart }), aNode("new", 0)], "new", policy).length, 1);
    assert.equal(planRebalance([crowded(undefined), aNode("new", 0)], "new", policy), []);
  });

  test("moves nothing to a node that may not have it", () => {
    const policy = aPartitionPolicy();
    const rule = { apart, labels: { disk: "ssd" } };
    assert.equal(planRebalance([crowded(rule), aNode("new", 0)], "new", policy), []);
    const fast = aNode("new", 0, { labels: { disk: "ssd" } });
    assert.is(planRebalance([crowded(rule), fast], "new", policy).length, 1);
  });

  test("makes no zone fuller than another for the sake of its nodes", () => {
    const rule = { apart: { nodes: "prefer", zones: "prefer" } } as const;
    const web = (id: string, zone: string, count: number): ReturnType<typeof aNode> =>
      aNode(id, 0, { zone, held: [{ subscription: "web", size: quarter, count, rule }] });
    const even = [web("a", "x", 3), web("b", "y", 2), web("c", "y", 1)];
    const policy = aPartitionPolicy();
    assert.equal(planRebalance([...even, aNode("new", 0, { zone: "y" })], "new", policy), [
      { subscription: "web", from: "b", to: "new" },
    ]);
    assert.equal(planRebalance([...even, aNode("new", 0, { zone: "x" })], "new", policy), [
      { subscription: "web", from: "a", to: "new" },
    ]);
  });

  test("comes to rest: after its moves nothing is left to move, in either direction", () => {
    const policy = aPartitionPolicy({ packing: { rebalanceMoves: 100 } });
    const with3 = (id: string, count: number): ReturnType<typeof aNode> =>
      aNode(id, 0, {
        held: count === 0 ? [] : [{ subscription: "web", size: quarter, count, rule: { apart } }],
      });
    for (const count of [1, 2, 3, 4]) {
      const moved = planRebalance([with3("a", count), with3("new", 0)], "new", policy).length;
      assert.ok(moved <= count);
      const after = [with3("a", count - moved), with3("new", moved)];
      assert.equal(planRebalance(after, "new", policy), []);
      assert.equal(planRebalance(after, "a", policy), []);
    }
  });
});
