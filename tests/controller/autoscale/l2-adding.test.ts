import { decidePartition } from "@strata/controller/domain/autoscale/l2/decide";
import { INITIAL_L2_STATE } from "@strata/controller/domain/autoscale/l2/model";
import { providerFailed, providerWorked } from "@strata/controller/domain/autoscale/l2/offers";
import { planSweep } from "@strata/controller/domain/autoscale/l2/overdue";

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
  nodeCapacity,
  NOW,
  quarter,
} from "./l2-support.ts";

suite("adding nodes", (test) => {
  test("adds from zero, all in one step", () => {
    const { actions, desired, reason } = decidePartition(
      aSituation({ subscriptions: [aSubscription(9)] }),
    );
    assert.equal(actions, [{ kind: "add", offer: "lxd/small", count: 3 }]);
    assert.is(desired, 3);
    assert.is(reason, "add 3 of lxd/small: 9 of web had no room");
  });

  test("adds only for what finds no room on ready and booting nodes", () => {
    const nodes = [aNode("a", 2), aNode("b", 0, { status: "booting", requestedAt: NOW })];
    assert.equal(
      decidePartition(aSituation({ nodes, subscriptions: [aSubscription(8)] })).actions,
      [],
    );
    assert.equal(
      added(decidePartition(aSituation({ nodes, subscriptions: [aSubscription(9)] })).actions),
      { "lxd/small": 1 },
    );
  });

  test("packs by whichever of processors, memory and pids is short", () => {
    const by = (size: Partial<typeof quarter>) =>
      added(
        decidePartition(
          aSituation({ subscriptions: [aSubscription(8, { size: { ...quarter, ...size } })] }),
        ).actions,
      )["lxd/small"];
    assert.equal([by({}), by({ cpuMillis: 2000 }), by({ pids: 4000 })], [2, 4, 8]);
  });

  test("adds for level 1's forecast before it is wished for", () => {
    const nodes = [aNode("a", 4)];
    const subscriptions = [aSubscription(4, { atHorizon: 6 })];
    assert.equal(added(decidePartition(aSituation({ nodes, subscriptions })).actions), {
      "lxd/small": 1,
    });
  });

  test("keeps headroom as whole nodes or as a share of the demand", () => {
    const nodes = [aNode("a", 4), aNode("b", 4)];
    const with_ = (headroom: object) =>
      added(
        decidePartition(
          aSituation({
            nodes,
            subscriptions: [aSubscription(8)],
            policy: aPartitionPolicy({ headroom }),
          }),
        ).actions,
      )["lxd/small"];
    assert.equal(
      [with_({ nodes: 1 }), with_({ percent: 10 }), with_({ percent: 100 }), with_({ percent: 0 })],
      [1, 1, 2, undefined],
    );
  });

  test("keeps between minNodes and maxNodes", () => {
    const policy = aPartitionPolicy({ minNodes: 2, maxNodes: 4 });
    assert.equal(added(decidePartition(aSituation({ policy })).actions), { "lxd/small": 2 });
    const full = decidePartition(aSituation({ policy, subscriptions: [aSubscription(99)] }));
    assert.equal(added(full.actions), { "lxd/small": 4 });
    assert.equal(
      full.trace.unplaceable.map(({ count }) => count),
      [99 - 16],
    );
  });

  test("gathers needs until nothing new has come for a second, at most for ten", () => {
    const situation = (desired: number, state = INITIAL_L2_STATE, now = NOW) =>
      aSituation({
        policy: aPartitionPolicy({ batch: {} }),
        subscriptions: [aSubscription(desired)],
        state,
        now,
      });
    const first = decidePartition(situation(4));
    assert.equal([first.actions, first.wakeAt], [[], NOW + 1000]);
    const grown = decidePartition(situation(8, first.state, NOW + 900));
    assert.equal([grown.actions, grown.wakeAt], [[], NOW + 1900]);
    assert.equal(added(decidePartition(situation(8, grown.state, NOW + 1900)).actions), {
      "lxd/small": 2,
    });
    let state = INITIAL_L2_STATE;
    let asked = -1;
    for (let step = 0; asked < 0 && step < 50; step += 1) {
      const decision = decidePartition(situation(4 * (step + 1), state, NOW + step * 500));
      if (decision.actions.length > 0) asked = step * 500;
      state = decision.state;
    }
    assert.is(asked, 10_000);
  });

  test("says what no offer can ever hold", () => {
    const giant = { ...quarter, memoryBytes: 8 * nodeCapacity.memoryBytes };
    const { actions, reason } = decidePartition(
      aSituation({ subscriptions: [aSubscription(1, { size: giant })] }),
    );
    assert.equal(actions, []);
    assert.match(reason, /1 of web have no room, but no offer or limit allows more/);
  });
});

suite("choosing a provider", (test) => {
  const offers = [
    anOffer({ key: "a/s", provider: "a", price: 3, maxNodes: 2 }),
    anOffer({ key: "b/s", provider: "b", price: 2 }),
    anOffer({
      key: "c/xl",
      provider: "c",
      price: 3,
      capacity: { cpuMillis: 8000, memoryBytes: 8 * 1024 ** 3, pids: 8000 },
    }),
  ];
  const ask = (order: string, state = INITIAL_L2_STATE, desired = 16) =>
    added(
      decidePartition(
        aSituation({
          offers,
          state,
          policy: aPartitionPolicy({ order }),
          subscriptions: [aSubscription(desired)],
        }),
      ).actions,
    );

  test("takes one after another, each up to its own limit", () => {
    assert.equal(ask("one-after-another"), { "a/s": 2, "b/s": 2 });
  });

  test("takes turns, and goes on where it stopped", () => {
    assert.equal(ask("round-robin", INITIAL_L2_STATE, 12), { "a/s": 1, "b/s": 1, "c/xl": 1 });
    assert.equal(ask("round-robin", { ...INITIAL_L2_STATE, turn: 1 }, 4), { "b/s": 1 });
  });

  test("takes the cheapest for what is needed, whatever its size", () => {
    assert.equal(ask("cheapest"), { "c/xl": 2 });
    assert.equal(ask("cheapest", INITIAL_L2_STATE, 1), { "b/s": 1 });
  });

  test("takes the next when a provider fails, and leaves it alone twice as long each time", () => {
    const policy = aPartitionPolicy();
    const once = providerFailed(INITIAL_L2_STATE, "a", { policy, now: NOW });
    assert.is(once.backOff.a?.until, NOW + 30_000);
    assert.equal(ask("one-after-another", once), { "b/s": 4 });
    const twice = providerFailed(once, "a", { policy, now: NOW });
    assert.is(twice.backOff.a?.until, NOW + 60_000);
    let state = twice;
    for (let failure = 0; failure < 60; failure += 1)
      state = providerFailed(state, "a", { policy, now: NOW });
    assert.is(state.backOff.a?.until, NOW + 30 * MINUTE);
    assert.equal(providerWorked(state, "a").backOff, {});
  });

  test("gives up a VM that never joins, once against its provider, and asks the next", () => {
    const nodes = [
      aNode("late", 0, { status: "booting", offer: "a/s", requestedAt: NOW - 15 * MINUTE }),
    ];
    const situation = aSituation({ offers, nodes, subscriptions: [aSubscription(4)] });
    const { actions, state } = decidePartition(situation);
    assert.equal(actions, [
      { kind: "add", offer: "b/s", count: 1 },
      { kind: "delete", nodeId: "late", why: "never-joined" },
    ]);
    const again = decidePartition({ ...situation, state, now: NOW + 1000 });
    assert.is(again.state.backOff.a?.failures, 1);
  });

  test("gives up a launch call that is not answered in time", () => {
    const launching = (age: number) => [
      aNode("x", 0, { status: "launching", requestedAt: NOW - age }),
    ];
    assert.equal(
      idsOf(decidePartition(aSituation({ nodes: launching(5 * MINUTE) })).actions, "delete"),
      ["x"],
    );
    assert.equal(decidePartition(aSituation({ nodes: launching(5 * MINUTE - 1) })).actions, []);
  });

  test("sweeps VMs that nobody knows, but not those that are just being launched", () => {
    const vms = [
      { id: "known", createdAt: 0 },
      { id: "leaked", createdAt: NOW - 10 * MINUTE },
      { id: "new", createdAt: NOW },
    ];
    assert.equal(planSweep(vms, { known: new Set(["known"]), now: NOW, graceMs: 5 * MINUTE }), [
      "leaked",
    ]);
  });
});
