/** How processes go that are well: with notice, in whichever way they stopped being wanted. */
import { type Action, planSubscription } from "@strata/controller/domain/plan";
import type { PlannedProcess } from "@strata/controller/domain/planned-process";

import { assert, suite } from "../../support/suite.ts";
import { aPlannedProcess as aProcess, aWish } from "../a-planned-process.ts";

const create = (attempt = 0, generation = 1): Action => ({ kind: "create", generation, attempt });

suite("drains", (test) => {
  const busy = { inFlight: 2, cpuPercent: 0 };
  const drain = { deadline: 1000, isOver: false };

  test("lets a process that has something in flight finish it, and stops an idle one at once", () => {
    const two = [aProcess({ load: busy }), aProcess({ id: "p-2" })];
    assert.equal(planSubscription(aWish({ count: 0 }), two), [
      { kind: "stop", processId: "p-2", reason: "surplus" },
      { kind: "drain", processId: "p-1" },
    ]);
    assert.equal(planSubscription(aWish({ count: 0, drains: false }), two.slice(0, 1)), [
      { kind: "stop", processId: "p-1", reason: "surplus" },
    ]);
  });

  test("gives notice to those who know of a process that goes, whatever it goes for", () => {
    const known = aProcess({ mayBeAsked: true });
    const replacement = aProcess({ id: "p-2", generation: 2 });
    const drained = [{ kind: "drain", processId: "p-1" }];
    assert.equal(planSubscription(aWish({ count: 0 }), [known]), drained);
    assert.equal(planSubscription(aWish({ generation: 2 }), [known, replacement]), drained);
    const moved = { ...known, whereabouts: "leaving" } as const;
    assert.equal(planSubscription(aWish(), [moved, aProcess({ id: "p-2" })]), drained);
  });

  test("gives none to one that is ill, nor for a subscription that is deleted", () => {
    const known = aProcess({ mayBeAsked: true });
    const stop = [{ kind: "stop", processId: "p-1", reason: "surplus" }];
    assert.equal(planSubscription(aWish({ count: 0 }), [{ ...known, ready: false }]), stop);
    assert.equal(planSubscription(aWish({ count: 0, drains: false }), [known]), stop);
    assert.equal(planSubscription(aWish({ count: 0, drains: false }), [{ ...known, drain }]), stop);
  });

  test("ends when it is over, or the process has fallen ill", () => {
    const draining = aProcess({ load: busy, drain });
    const stop = [{ kind: "stop", processId: "p-1", reason: "surplus" }];
    const none = aWish({ count: 0 });
    assert.equal(planSubscription(none, [draining]), []);
    assert.equal(
      planSubscription(none, [{ ...draining, drain: { ...drain, isOver: true } }]),
      stop,
    );
    assert.equal(planSubscription(none, [{ ...draining, ready: false }]), stop);
  });

  test("says why each goes when its drain is over", () => {
    const over = { ...drain, isOver: true };
    const why = (one: Partial<PlannedProcess>): unknown =>
      planSubscription(aWish({ generation: 2 }), [
        aProcess({ generation: 2, drain: over, ...one }),
        aProcess({ id: "p-2", generation: 2 }),
      ]);
    const stop = (reason: string): unknown => [{ kind: "stop", processId: "p-1", reason }];
    assert.equal(why({}), stop("surplus"));
    assert.equal(why({ generation: 1 }), stop("outdated"));
    assert.equal(why({ whereabouts: "leaving" }), stop("drained"));
  });

  test("stand in the way of others as long as enough are there", () => {
    const old = aProcess({ generation: 1, drain });
    const wish = aWish({ generation: 2, count: 2 });
    const [newest, oldest] = [aProcess({ id: "n", generation: 2 }), aProcess({ id: "o" })];
    assert.equal(planSubscription(wish, [old, newest, oldest]), []);
    assert.equal(planSubscription(wish, [{ ...old, desired: "stopped" }, newest, oldest]), [
      create(0, 2),
    ]);
  });

  test("a grow takes drains back before it creates anything: the busiest first", () => {
    const draining = [
      aProcess({ id: "a", load: busy, drain }),
      aProcess({ id: "b", load: { ...busy, inFlight: 5 }, drain }),
    ];
    assert.equal(planSubscription(aWish({ count: 1 }), draining), [
      { kind: "keep", processId: "b" },
    ]);
    assert.equal(planSubscription(aWish({ count: 3 }), draining), [
      { kind: "keep", processId: "a" },
      { kind: "keep", processId: "b" },
      create(),
    ]);
  });

  test("takes one of an older generation back when its replacement falls ill", () => {
    const old = aProcess({ drain: { ...drain, isOver: true } });
    const wish = aWish({ generation: 2 });
    const replacement = aProcess({ id: "p-2", generation: 2 });
    assert.equal(planSubscription(wish, [old, { ...replacement, ready: false }]), [
      { kind: "keep", processId: "p-1" },
    ]);
    assert.equal(planSubscription(wish, [old, replacement]), [
      { kind: "stop", processId: "p-1", reason: "outdated" },
    ]);
  });

  test("leaves one that gave way to a replacement without room as it is", () => {
    const old = aProcess({ drain });
    const blocked = aProcess({
      id: "p-2",
      generation: 2,
      state: "pending",
      ready: false,
      whereabouts: "blocked",
      nodeId: undefined,
    });
    assert.equal(planSubscription(aWish({ generation: 2 }), [old, blocked]), []);
  });
});
