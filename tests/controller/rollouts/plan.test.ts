/** Whole roll-outs in worlds in which much goes wrong: what the planner may never do, and where it arrives. */
import { type Action, planSubscription } from "@strata/controller/domain/plan";
import {
  isServing,
  type PlannedProcess,
  type Wish,
} from "@strata/controller/domain/planned-process";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";
import { aPlannedProcess } from "../a-planned-process.ts";

const NEWEST = 3;
const BASE = 1;

/** What befalls one process in one round. */
const fates = ["well", "well", "slow", "fails", "crashes", "drained", "lost", "returns"] as const;
type Fate = (typeof fates)[number];
type Round = {
  readonly fates: readonly Fate[];
  /** How many of the wished processes there are to be from now on; null as before. */
  readonly scale: number | null;
  /** Whether the nodes have room for what waits. */
  readonly hasRoom: boolean;
};

const anyRound: fc.Arbitrary<Round> = fc.record({
  fates: fc.array(fc.constantFrom(...fates), { minLength: 6, maxLength: 6 }),
  scale: fc.option(fc.integer({ min: 0, max: 8 }), { freq: 6 }),
  hasRoom: fc.boolean(),
});
const anyLimits = fc
  .record({
    count: fc.integer({ min: 1, max: 8 }),
    surge: fc.integer({ min: 0, max: 3 }),
    unavailable: fc.integer({ min: 0, max: 3 }),
    minReadyMs: fc.constantFrom(0, 2000),
  })
  .filter(({ surge, unavailable }) => surge + unavailable > 0);
const anyHold = fc.option(fc.record({ newest: fc.integer({ min: 0, max: 4 }) }), { freq: 2 });

type World = { wish: Wish; processes: readonly PlannedProcess[]; made: number };

function aWorld(
  limits: Pick<Wish, "count" | "surge" | "unavailable" | "minReadyMs">,
  hold: { readonly newest: number } | null,
): World {
  const wish = {
    ...limits,
    isAsleep: false,
    generation: NEWEST,
    hold: hold === null ? null : { ...hold, base: BASE },
    held: false,
    drains: true,
    processesOnNode: {},
    resizable: new Set<string>(),
  };
  const processes = Array.from({ length: limits.count }, (_, index) =>
    // Some of a roll-out that was overtaken.
    aPlannedProcess({
      id: `old-${index}`,
      generation: index % 3 === 2 ? 2 : BASE,
      mayBeAsked: true,
    }),
  );
  return { wish, processes, made: 0 };
}

const isEnded = ({ state }: PlannedProcess): boolean => state === "failed" || state === "stopped";
const serves = (one: PlannedProcess): boolean => one.desired === "running" && isServing(one);
const isAsked = (one: PlannedProcess): boolean => serves(one) && one.drain === null;
const lives = (one: PlannedProcess): boolean =>
  one.desired === "running" && !isEnded(one) && one.whereabouts !== "lost";

/** One round: time passes, then the plan is carried out. Gives back the plan. */
function turn(world: World, { fates: given, hasRoom }: Omit<Round, "scale">): readonly Action[] {
  world.processes = world.processes.map((one, index) =>
    befall(one, given[index % given.length] ?? "well", hasRoom),
  );
  const actions = planSubscription(world.wish, world.processes);
  check(world, actions);
  const told = new Map(
    actions.flatMap((action) => ("processId" in action ? [[action.processId, action.kind]] : [])),
  );
  world.processes = [
    ...world.processes
      .filter(({ id }) => told.get(id) !== "forget")
      .map((one) => obey(one, told.get(one.id))),
    ...actions.flatMap((action): readonly PlannedProcess[] => {
      if (action.kind !== "create") return [];
      world.made += 1;
      const id = `new-${world.made}`;
      const made = aPlannedProcess({ id, generation: action.generation, mayBeAsked: true });
      return [{ ...made, state: "pending", ready: false, readyMs: 0, nodeId: undefined, ...waits }];
    }),
  ];
  return actions;
}

function obey(one: PlannedProcess, kind: Action["kind"] | undefined): PlannedProcess {
  if (kind === "stop") return { ...one, desired: "stopped" };
  if (kind === "drain") return { ...one, drain: { deadline: 1, isOver: false } };
  return kind === "keep" ? { ...one, drain: null } : one;
}

const waits = { whereabouts: "unplaced" } as const;

function befall(before: PlannedProcess, fate: Fate, hasRoom: boolean): PlannedProcess {
  const one = {
    ...before,
    inStateMs: 10_000_000,
    readyMs: before.ready ? before.readyMs + 1000 : 0,
    drain: before.drain && { ...before.drain, isOver: before.drain.isOver || fate !== "slow" },
  };
  if (one.desired === "stopped") return { ...one, state: "stopped", ready: false };
  if (one.nodeId === undefined)
    return hasRoom
      ? { ...one, nodeId: "n-1", whereabouts: "here", state: "starting" }
      : { ...one, whereabouts: "blocked" };
  if (one.whereabouts === "lost")
    return fate === "returns" ? { ...one, whereabouts: "here", state: "running" } : one;
  if (isEnded(one)) return one;
  switch (fate) {
    case "well":
      return one.ready ? one : { ...one, state: "running", ready: true };
    case "fails":
      return one.ready ? one : { ...one, state: "failed" };
    case "crashes":
      return { ...one, state: "starting", ready: false, readyMs: 0 };
    case "drained":
      return { ...one, whereabouts: "leaving" };
    case "lost":
      return { ...one, whereabouts: "lost", state: "suspect" };
    default:
      return one;
  }
}

/** What holds of every plan. */
function check({ wish, processes }: World, actions: readonly Action[]): void {
  const named = actions.flatMap((action) => ("processId" in action ? [action.processId] : []));
  assert.is(new Set(named).size, named.length, "one action for each process");
  const told = (...kinds: readonly Action["kind"][]): ReadonlySet<string> =>
    new Set(
      actions.flatMap((one) =>
        "processId" in one && kinds.includes(one.kind) ? [one.processId] : [],
      ),
    );
  const stops = told("stop");
  const creates = actions.filter(({ kind }) => kind === "create").length;
  const floor = Math.max(0, wish.count - wish.unavailable);
  const living = processes.filter((one) => lives(one) && !stops.has(one.id));
  const wanted = living.filter(({ drain }) => drain === null).length;
  assert.ok(
    creates === 0 ||
      living.length + creates <= wish.count + wish.surge ||
      wanted + creates <= floor,
    `${living.length} live, ${creates} come, ${wish.count} + ${wish.surge} may`,
  );
  // Whose drain is taken back is asked again from the same moment on.
  const kept = told("keep");
  const gives = processes.some(({ whereabouts }) => whereabouts === "blocked") ? 1 : 0;
  for (const [of, going] of [
    [serves, stops],
    [isAsked, told("stop", "drain")],
  ] as const) {
    const before = processes.filter(of).length;
    const left = processes
      .map((one) => (kept.has(one.id) ? { ...one, drain: null } : one))
      .filter((one) => of(one) && !going.has(one.id)).length;
    assert.ok(
      left >= Math.min(before, floor - gives),
      `${before} serve, ${left} of ${floor} are left`,
    );
  }
  for (const one of processes)
    if (stops.has(one.id) && serves(one))
      assert.ok(one.drain?.isOver === true, `${one.id} is stopped without notice`);
}

const kind = (generation: number) => (one: PlannedProcess) => one.generation === generation;

suite("a roll-out", (test) => {
  test("never has too many processes, and never too few that serve, whatever happens on its way", () => {
    fc.assert(
      fc.property(
        anyLimits,
        anyHold,
        fc.array(anyRound, { maxLength: 25 }),
        (limits, hold, rounds) => {
          const world = aWorld(limits, hold);
          for (const { scale, ...round } of rounds) {
            if (scale !== null) world.wish = { ...world.wish, count: scale };
            turn(world, round);
          }
        },
      ),
      { numRuns: 400, includeErrorInReport: true },
    );
  });

  test("comes to its end, or to its hold, once all goes well, and then rests", () => {
    fc.assert(
      fc.property(
        anyLimits,
        anyHold,
        fc.array(anyRound, { maxLength: 12 }),
        (limits, hold, rounds) => {
          const world = aWorld(limits, hold);
          for (const { scale, ...round } of rounds) {
            if (scale !== null) world.wish = { ...world.wish, count: scale };
            turn(world, round);
          }
          const well = { fates: ["well"] as const, hasRoom: true };
          world.processes = world.processes.map((one) =>
            one.whereabouts === "leaving" ? { ...one, whereabouts: "here" } : one,
          );
          let rest = 0;
          for (let round = 0; round < 120 && rest < 4; round += 1)
            rest = turn(world, well).length === 0 ? rest + 1 : 0;
          assert.is(rest, 4, "it rests");
          const { count } = world.wish;
          const live = world.processes.filter(lives);
          assert.is(live.length, count);
          assert.ok(live.every(serves));
          const newest = live.filter(kind(NEWEST)).length;
          assert.is(newest, hold === null ? count : Math.min(hold.newest, count));
        },
      ),
      { numRuns: 300, includeErrorInReport: true },
    );
  });

  test("replaces what is lost meanwhile by the generation that it had", () => {
    const world = aWorld({ count: 4, surge: 1, unavailable: 0, minReadyMs: 0 }, { newest: 1 });
    const well = { fates: ["well"] as const, hasRoom: true };
    for (let round = 0; round < 12; round += 1) turn(world, well);
    assert.is(world.processes.filter(kind(NEWEST)).length, 1);
    const [old] = world.processes.filter((one) => one.generation !== NEWEST);
    world.processes = world.processes.map((one) =>
      one.id === old?.id ? { ...one, whereabouts: "lost", state: "suspect" } : one,
    );
    assert.equal(turn(world, well), [{ kind: "create", generation: BASE, attempt: 0 }]);
    const [canary] = world.processes.filter(kind(NEWEST));
    world.processes = world.processes.map((one) =>
      one.id === canary?.id ? { ...one, whereabouts: "lost", state: "suspect" } : one,
    );
    for (let round = 0; round < 12; round += 1) turn(world, well);
    const live = world.processes.filter(lives);
    assert.equal([live.length, live.filter(kind(NEWEST)).length], [4, 1]);
  });

  test("without surge stops one first, with it starts one first", () => {
    const first = (limits: { surge: number; unavailable: number }): readonly Action[] =>
      turn(aWorld({ count: 1, minReadyMs: 0, ...limits }, null), {
        fates: ["slow"],
        hasRoom: true,
      });
    assert.equal(first({ surge: 0, unavailable: 1 }), [{ kind: "drain", processId: "old-0" }]);
    assert.equal(first({ surge: 1, unavailable: 0 }), [
      { kind: "create", generation: NEWEST, attempt: 0 },
    ]);
  });

  test("stops an old one only when its replacement was ready for long enough", () => {
    const wish = aWorld({ count: 1, surge: 1, unavailable: 0, minReadyMs: 5000 }, null).wish;
    const old = aPlannedProcess({ id: "old", generation: BASE });
    const at = (readyMs: number): readonly Action[] =>
      planSubscription(wish, [
        old,
        { ...aPlannedProcess({ id: "new", generation: NEWEST }), readyMs },
      ]);
    assert.equal(at(4999), []);
    assert.equal(at(5000), [{ kind: "stop", processId: "old", reason: "outdated" }]);
  });

  test("lets one give way to a replacement without room, and no second one", () => {
    const { wish } = aWorld({ count: 3, surge: 1, unavailable: 0, minReadyMs: 0 }, null);
    const blocked: PlannedProcess = {
      ...aPlannedProcess({ id: "new", generation: NEWEST }),
      state: "pending",
      ready: false,
      whereabouts: "blocked",
      nodeId: undefined,
    };
    const three = ["a", "b", "c"].map((id) => aPlannedProcess({ id, generation: BASE }));
    assert.is(planSubscription(wish, [...three, blocked]).length, 1);
    assert.equal(
      planSubscription(wish, [...three.slice(1), blocked]).filter(({ kind }) => kind === "stop"),
      [],
    );
  });
});
