import { type Action, planSubscription, retryDelayMs } from "@strata/controller/domain/plan";
import { planVictims } from "@strata/controller/domain/plan-shrink";
import type {
  PlannedProcess,
  Sleep,
  Whereabouts,
  Wish,
} from "@strata/controller/domain/planned-process";
import { processStates } from "@strata/protocol/agent/process-state";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";
import { aPlannedProcess as aProcess, aWish } from "../a-planned-process.ts";

const create = (attempt = 0, generation = 1): Action => ({ kind: "create", generation, attempt });

const placed: readonly Whereabouts[] = ["here", "leaving", "away", "lost"];
const anyProcess = fc
  .record({
    generation: fc.integer({ min: 1, max: 3 }),
    desired: fc.constantFrom("running" as const, "stopped" as const),
    state: fc.constantFrom(...processStates),
    ready: fc.boolean(),
    readyMs: fc.constantFrom(0, 60_000),
    whereabouts: fc.constantFrom<Whereabouts>("unplaced", "blocked", ...placed),
    attempt: fc.integer({ min: 0, max: 5 }),
    inStateMs: fc.integer({ min: 0, max: 2_000_000 }),
    node: fc.integer({ min: 1, max: 4 }),
    mayBeAsked: fc.boolean(),
    drain: fc.option(fc.record({ deadline: fc.nat(), isOver: fc.boolean() })),
    sleep: fc.option(
      fc.record({
        freeze: fc.constantFrom("announced" as const, "ordered" as const),
        isReleased: fc.boolean(),
      }),
    ),
    load: fc.record({
      inFlight: fc.option(fc.nat({ max: 3 }), { nil: undefined }),
      cpuPercent: fc.nat({ max: 100 }),
    }),
  })
  .map(({ node, ...one }) =>
    aProcess({ ...one, nodeId: placed.includes(one.whereabouts) ? `n-${node}` : undefined }),
  );
const anyProcesses = fc
  .array(anyProcess, { maxLength: 12 })
  .map((all) => all.map((one, index) => ({ ...one, id: `p-${index}` })));
const anyWish = fc
  .record({
    count: fc.integer({ min: 0, max: 8 }),
    isAsleep: fc.boolean(),
    generation: fc.integer({ min: 1, max: 3 }),
    surge: fc.integer({ min: 0, max: 3 }),
    unavailable: fc.integer({ min: 0, max: 3 }),
    minReadyMs: fc.constantFrom(0, 30_000),
    hold: fc.constant(null),
    held: fc.boolean(),
    drains: fc.boolean(),
    processesOnNode: fc.constant({}),
  })
  .filter(({ surge, unavailable }) => surge > 0 || unavailable > 0);

const serves = (one: PlannedProcess): boolean =>
  one.desired === "running" &&
  one.ready &&
  one.state === "running" &&
  (one.whereabouts === "here" || one.whereabouts === "leaving");

/** As one of those that there may be no more than so many of. */
const lives = ({ held }: Pick<Wish, "held">, one: PlannedProcess): boolean =>
  one.desired === "running" &&
  one.drain === null &&
  !["failed", "stopped"].includes(one.state) &&
  (one.whereabouts !== "lost" || held);

suite("planSubscription", (test) => {
  test("plans at most one action for each process, and only for those that are there", () => {
    fc.assert(
      fc.property(anyWish, anyProcesses, (any, processes) => {
        const wish = resizing(any, processes);
        const ids = planSubscription(wish, processes).flatMap((action) =>
          action.kind === "create" ? [] : [action.processId],
        );
        assert.is(new Set(ids).size, ids.length);
        assert.ok(ids.every((id) => processes.some((one) => one.id === id)));
      }),
    );
  });

  test("never creates more than is missing, nor more than the surge allows", () => {
    fc.assert(
      fc.property(anyWish, anyProcesses, (any, processes) => {
        const wish = resizing(any, processes);
        const creates = planSubscription(wish, processes).filter(({ kind }) => kind === "create");
        const current = processes.filter(
          (one) =>
            one.desired === "running" &&
            one.drain === null &&
            one.generation === wish.generation &&
            !["failed", "stopped"].includes(one.state) &&
            one.whereabouts !== "leaving" &&
            (one.whereabouts !== "lost" || wish.held),
        );
        assert.ok(creates.length <= Math.max(0, wish.count - current.length));
        const living = processes.filter((one) => lives(wish, one)).length;
        assert.ok(creates.length <= Math.max(0, wish.count + wish.surge - living));
      }),
    );
  });

  test("never stops a serving process below the wish, but for one that makes room for a blocked replacement", () => {
    fc.assert(
      fc.property(anyWish, anyProcesses, (any, processes) => {
        const wish = resizing(any, processes);
        const stopped = stoppedBy(planSubscription(wish, processes));
        const before = processes.filter(serves).length;
        const after = processes.filter((one) => serves(one) && !stopped.has(one.id)).length;
        const blocked = processes.some(({ whereabouts }) => whereabouts === "blocked");
        const floor = Math.max(0, wish.count - wish.unavailable);
        assert.ok(after >= Math.min(before, floor - (blocked ? 1 : 0)));
      }),
      { numRuns: 500 },
    );
  });

  test("plans the same for the same input in any order", () => {
    fc.assert(
      fc.property(anyWish, anyProcesses, (any, processes) => {
        const wish = resizing(any, processes);
        const sorted = (actions: readonly Action[]): string[] =>
          actions.map((action) => JSON.stringify(action)).toSorted();
        const forth = planSubscription(wish, processes);
        const back = planSubscription(wish, processes.toReversed());
        assert.equal(sorted(forth).length, sorted(back).length);
      }),
    );
  });

  test("reaches any wish from any state when nodes do as they are told, and then plans nothing", () => {
    fc.assert(
      fc.property(anyWish, anyProcesses, (any, start) => {
        const wish = { ...any, held: false };
        let processes: readonly PlannedProcess[] = start.map(settled);
        let created = 0;
        for (let round = 0; round < 60; round += 1) {
          const actions = planSubscription(resizing(wish, processes), processes);
          if (actions.length === 0) break;
          processes = obey({ wish, processes, actions }, () => {
            created += 1;
            return aProcess({ id: `new-${created}`, generation: wish.generation });
          });
        }
        assert.equal(planSubscription(resizing(wish, processes), processes), []);
        const kept = processes.filter((one) => one.whereabouts !== "lost");
        assert.is(kept.length, wish.count);
        assert.ok(kept.every((one) => one.generation === wish.generation && serves(one)));
        assert.ok(created <= wish.count + start.length);
        assert.ok(kept.every(({ drain }) => drain === null));
        assert.ok(kept.every(({ sleep }) => (sleep === null) !== wish.isAsleep));
      }),
      { numRuns: 300, includeErrorInReport: true },
    );
  });

  test("replaces a lost process once, and leaves the lost one to be judged when its node returns", () => {
    const lost = aProcess({ whereabouts: "lost", state: "suspect" });
    assert.equal(planSubscription(aWish(), [lost]), [create()]);
    assert.equal(planSubscription(aWish(), [lost, aProcess({ id: "p-2", ready: false })]), []);
  });

  test("replaces nothing while replacements are held back", () => {
    const lost = aProcess({ whereabouts: "lost", state: "suspect" });
    assert.equal(planSubscription(aWish({ held: true }), [lost]), []);
  });

  test("stops the lost processes too when nothing shall run any more", () => {
    const lost = aProcess({ whereabouts: "lost", state: "suspect" });
    assert.equal(planSubscription(aWish({ count: 0 }), [lost]), [
      { kind: "stop", processId: "p-1", reason: "surplus" },
    ]);
  });

  test("leaves a failed process alone until its retry is due", () => {
    const failed = aProcess({ state: "failed", ready: false, attempt: 2 });
    const due = { ...failed, inStateMs: retryDelayMs(2) };
    assert.equal(planSubscription(aWish(), [failed]), []);
    assert.equal(planSubscription(aWish(), [due]), [
      { kind: "stop", processId: "p-1", reason: "failed" },
      create(3),
    ]);
  });

  test("drops a failed process at once when a new generation has been PUT", () => {
    const failed = aProcess({ state: "failed", ready: false });
    assert.equal(planSubscription(aWish({ generation: 2 }), [failed]), [
      { kind: "stop", processId: "p-1", reason: "failed" },
      create(0, 2),
    ]);
  });
});

suite("new limits", (test) => {
  const one = aProcess();
  const wish = aWish({ count: 2, generation: 2, resizable: new Set(["p-1"]) });
  const resize = { kind: "resize", processId: "p-1" };

  test("are taken over by a process that can, and it is not replaced", () => {
    const other = aProcess({ id: "p-2", generation: 2 });
    assert.equal(planSubscription(wish, [one, other]), [resize]);
  });

  test("are taken over beside one that has no room for them and is replaced", () => {
    const other = aProcess({ id: "p-2" });
    assert.equal(planSubscription(wish, [one, other]), [create(0, 2), resize]);
  });

  test("are nothing for one that is to go", () => {
    assert.equal(planSubscription({ ...wish, count: 0 }, [one]), [
      { kind: "stop", processId: "p-1", reason: "surplus" },
    ]);
  });
});

suite("limits of planning", (test) => {
  test("retries wait longer and longer, up to sixteen minutes", () => {
    assert.equal([0, 1, 2, 7, 100].map(retryDelayMs), [10_000, 20_000, 40_000, 960_000, 960_000]);
  });
});

suite("sleep", (test) => {
  const asleep = aWish({ isAsleep: true });
  const announced = { freeze: "announced", isReleased: false } as const;

  test("is announced once a process is ready, and ordered when no ingress has anything for it", () => {
    const steps = [
      aProcess({ ready: false }),
      aProcess(),
      aProcess({ sleep: announced }),
      aProcess({ sleep: { ...announced, isReleased: true } }),
      aProcess({ sleep: { freeze: "ordered", isReleased: true } }),
    ].map((one) => planSubscription(asleep, [one]).map(({ kind }) => kind));
    assert.equal(steps, [[], ["announceFreeze"], [], ["freeze"], []]);
  });

  test("ends for every process at once", () => {
    const both = [
      aProcess({ sleep: announced }),
      aProcess({ id: "p-2", sleep: { freeze: "ordered", isReleased: true } }),
    ];
    assert.equal(planSubscription(aWish({ count: 2 }), both), [
      { kind: "wake", processId: "p-1" },
      { kind: "wake", processId: "p-2" },
    ]);
  });

  test("leaves the process that is wished for until its replacement is ready", () => {
    const old = aProcess({ sleep: { freeze: "ordered", isReleased: true } });
    const wish = { ...asleep, generation: 2 };
    assert.equal(planSubscription(wish, [old]), [create(0, 2)]);
    const next = aProcess({ id: "p-2", generation: 2, ready: false });
    assert.equal(planSubscription(wish, [old, next]), []);
  });
});

suite("planVictims", (test) => {
  test("takes what serves least, and among equals as level 1 does: the emptiest node, then the newest", () => {
    const processes = [
      aProcess({ id: "old", createdAt: "2026-01-01T00:00:00.000Z" }),
      aProcess({ id: "new", createdAt: "2026-01-02T00:00:00.000Z" }),
      aProcess({ id: "alone", nodeId: "n-2", createdAt: "2025-12-03T00:00:00.000Z" }),
      aProcess({ id: "busy", nodeId: "n-2", load: { inFlight: 0, cpuPercent: 50 } }),
      aProcess({ id: "serving", nodeId: "n-2", load: { inFlight: 3, cpuPercent: 0 } }),
      aProcess({ id: "unready", ready: false }),
      aProcess({ id: "away", whereabouts: "away", state: "suspect" }),
      aProcess({ id: "unplaced", whereabouts: "unplaced", nodeId: undefined, ready: false }),
      aProcess({ id: "lost", whereabouts: "lost", state: "suspect" }),
    ];
    const wish = { processesOnNode: { "n-1": 9, "n-2": 3 } };
    assert.equal(
      planVictims(wish, processes, 9).map(({ id }) => id),
      ["unplaced", "lost", "unready", "away", "alone", "new", "old", "busy", "serving"],
    );
  });
});

/** With some of those that could take over the wish's limits. */
function resizing<Some extends Omit<Wish, "resizable">>(
  wish: Some,
  processes: readonly PlannedProcess[],
): Some & Wish {
  const able = processes.filter(
    ({ desired, drain, state, whereabouts, attempt }) =>
      desired === "running" &&
      drain === null &&
      !["failed", "stopped"].includes(state) &&
      ["here", "away"].includes(whereabouts) &&
      attempt % 2 === 0,
  );
  return { ...wish, resizable: new Set(able.map(({ id }) => id)) };
}

function stoppedBy(actions: readonly Action[]): ReadonlySet<string> {
  return new Set(actions.flatMap((action) => (action.kind === "stop" ? [action.processId] : [])));
}

/** A world in which everything gets ready or stops as it should, and every retry is due. */
function settled(one: PlannedProcess): PlannedProcess {
  const whereabouts = ["unplaced", "blocked", "away"].includes(one.whereabouts)
    ? "here"
    : one.whereabouts;
  if (one.desired === "stopped") return { ...one, state: "stopped", ready: false };
  const state = ["failed", "stopped"].includes(one.state)
    ? one.state
    : one.whereabouts === "lost"
      ? "suspect"
      : "running";
  return {
    ...one,
    whereabouts,
    state,
    ready: state === "running",
    readyMs: 60_000,
    nodeId: one.nodeId ?? "n-1",
    inStateMs: 10_000_000,
    // Every drain ends in the end.
    drain: one.drain && { ...one.drain, isOver: true },
  };
}

type Turn = {
  readonly wish: Pick<Wish, "generation">;
  readonly processes: readonly PlannedProcess[];
  readonly actions: readonly Action[];
};

function obey(
  { wish, processes, actions }: Turn,
  create: () => PlannedProcess,
): readonly PlannedProcess[] {
  const stopped = stoppedBy(actions);
  const forgotten = new Set(
    actions.flatMap((action) => (action.kind === "forget" ? [action.processId] : [])),
  );
  return [
    ...processes
      .filter(({ id }) => !forgotten.has(id))
      .map((one) => {
        const action = actions.find(
          (candidate) => candidate.kind !== "create" && candidate.processId === one.id,
        );
        if (action?.kind === "drain") return { ...one, drain: { deadline: 1, isOver: true } };
        if (action?.kind === "resize") return { ...one, generation: wish.generation };
        if (action?.kind === "keep") return { ...one, drain: null };
        return { ...one, sleep: sleepAfter(one, action) };
      })
      .map((one) =>
        stopped.has(one.id) || one.desired === "stopped"
          ? { ...one, desired: "stopped" as const, state: "stopped" as const, ready: false }
          : one,
      ),
    ...actions.filter(({ kind }) => kind === "create").map(create),
  ];
}

function sleepAfter({ sleep }: PlannedProcess, action: Action | undefined): Sleep | null {
  switch (action?.kind) {
    case "announceFreeze":
      return { freeze: "announced", isReleased: true };
    case "freeze":
      return { freeze: "ordered", isReleased: true };
    case "wake":
      return null;
    default:
      return sleep;
  }
}
