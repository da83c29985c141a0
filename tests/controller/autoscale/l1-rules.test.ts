import { decide, pausePolicy } from "@strata/controller/domain/autoscale/l1/decide";
import { processesAtHorizon } from "@strata/controller/domain/autoscale/l1/horizon";
import { INITIAL_L1_STATE } from "@strata/controller/domain/autoscale/l1/model";
import { cpuPercent, forgetSamples } from "@strata/controller/domain/autoscale/l1/samples";
import {
  recordForecastError,
  recordSeasonal,
  type SeasonalHistory,
  seasonalLoads,
} from "@strata/controller/domain/autoscale/l1/seasonal";
import {
  type Candidate,
  chooseVictims,
  drainsToCancel,
} from "@strata/controller/domain/autoscale/l1/victims";

import { assert, suite } from "../../support/suite.ts";
import {
  aHistory,
  aPolicy,
  decideOnce,
  processesWith,
  runWorld,
  SECOND,
  START,
} from "./l1-support.ts";

const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Ten processes that carry exactly their target. */
const atTarget = processesWith(
  "in-flight",
  Array.from({ length: 10 }, () => 10),
);
const idle = processesWith(
  "in-flight",
  Array.from({ length: 10 }, () => 1),
);

suite("limits of level 1", (test) => {
  test("takes the highest of several metrics", () => {
    const policy = aPolicy({
      metrics: [
        { kind: "in-flight", target: 10 },
        { kind: "custom", name: "queue", target: 5 },
      ],
    });
    const readings = [{ metric: "custom/queue", value: 80, at: START }];
    const { desired, trace } = decideOnce(policy, aHistory({ processes: atTarget, readings }));
    assert.is(desired, 16);
    assert.equal(trace.source, { kind: "metric", metric: "custom/queue" });
  });

  test("shrinks by one or a tenth a minute, after five minutes of low load", () => {
    const { counts } = runWorld({
      policy: aPolicy(),
      load: (ms) => (ms < MINUTE ? 300 : 10),
      durationMs: 12 * MINUTE,
      initial: 30,
    });
    const changes = counts.filter(
      ({ count }, index) => index > 0 && count !== counts[index - 1]?.count,
    );
    assert.ok((changes[0]?.ms ?? 0) >= 6 * MINUTE);
    assert.equal(
      changes.slice(0, 4).map(({ count }) => count),
      [27, 25, 23, 21],
    );
    const gaps = changes.slice(1).map(({ ms }, index) => ms - (changes[index]?.ms ?? 0));
    assert.ok(gaps.every((gap) => gap >= MINUTE));
  });

  test("does not go to zero while a metric fails, however idle the others are", () => {
    const policy = aPolicy({
      min: 0,
      idleAfter: 0,
      stabilisation: { shrink: 0 },
      metrics: [
        { kind: "in-flight", target: 10 },
        { kind: "cpu", target: 70 },
      ],
    });
    const decide = (processes: typeof idle) => decideOnce(policy, aHistory({ processes }));
    const quiet = (values: Readonly<Record<string, number>>) =>
      processesWith("cpu", [1]).map((process) => ({
        ...process,
        sample: { sequence: 1, at: START, ready: true, values },
      }));
    assert.is(decide(quiet({ "in-flight": 0, cpu: 1 })).desired, 0);
    const failing = decide(quiet({ "in-flight": 0 }));
    assert.equal([failing.desired, failing.limiter], [1, "metric-failed"]);
  });

  test("leaves a count alone that was set by hand, for as long as stated", () => {
    const policy = aPolicy({ stabilisation: { shrink: 0 } });
    const history = aHistory({ processes: idle });
    const state = pausePolicy(INITIAL_L1_STATE, START + 2 * SECOND);
    const paused = decide({ policy, history, state, now: START + 2 * SECOND - 1 });
    assert.is(paused.desired, 10);
    assert.is(paused.limiter, "paused");
    assert.ok(
      decide({ policy, history, state: paused.state, now: START + 2 * SECOND }).desired < 10,
    );
  });

  test("shrinks nothing during a roll-out", () => {
    const policy = aPolicy({ stabilisation: { shrink: 0 } });
    const during = decideOnce(policy, aHistory({ processes: idle, rollingOut: true }));
    assert.is(during.desired, 10);
    assert.is(during.limiter, "rollout");
  });

  test("counts ready processes of both generations during a roll-out", () => {
    const processes = processesWith("in-flight", [10, 10, 10, 10, 10, 10]);
    const history = aHistory({ processes, current: 4, rollingOut: true });
    assert.is(decideOnce(aPolicy(), history).desired, 6);
  });

  test("raises a pending grow but never lowers it, until it is done", () => {
    const policy = aPolicy({ stabilisation: { shrink: 0 }, panic: { threshold: null } });
    const four = processesWith("in-flight", [20, 20, 20, 20]);
    const first = decideOnce(policy, aHistory({ processes: four }));
    assert.is(first.desired, 8);
    const calm = processesWith("in-flight", [1, 1, 1, 1], START + 2 * MINUTE);
    const waiting = decide({
      policy,
      history: aHistory({ processes: calm, current: 8 }),
      state: first.state,
      now: START + 2 * MINUTE,
    });
    assert.is(waiting.desired, 8);
    const done = decide({
      policy,
      history: aHistory({
        processes: processesWith(
          "in-flight",
          Array.from({ length: 8 }, () => 1),
          START + 4 * MINUTE,
        ),
      }),
      state: waiting.state,
      now: START + 4 * MINUTE,
    });
    assert.is(done.desired, 7);
  });

  test("does not wait forever for a grow that never gets ready", () => {
    const policy = aPolicy({
      stabilisation: { shrink: 0 },
      panic: { threshold: null },
      actionTimeout: 60,
    });
    const pending = { kind: "grow", to: 20, since: START - MINUTE } as const;
    const calm = processesWith("in-flight", [1, 1, 1, 1]);
    const { trace } = decide({
      policy,
      history: aHistory({ processes: calm, current: 20 }),
      state: { ...INITIAL_L1_STATE, pending },
      now: START,
    });
    assert.not(trace.limits.some(({ limiter }) => limiter === "pending-grow"));
  });

  test("decides and remembers nothing as done on a dry run", () => {
    const policy = aPolicy({ dryRun: true });
    const history = aHistory({ processes: processesWith("in-flight", [99, 99]) });
    const { act, desired, state } = decideOnce(policy, history);
    assert.equal([act, desired, state.pending, state.changes], [false, 6, null, []]);
  });

  test("never shrinks during a panic, and leaves it after one whole stable window", () => {
    const { decisions } = runWorld({
      policy: aPolicy({ stabilisation: { shrink: 0 } }),
      load: (ms) => (ms >= MINUTE && ms < 70 * SECOND ? 400 : 40),
      durationMs: 5 * MINUTE,
      initial: 4,
    });
    const panicking = decisions.filter(({ trace }) => trace.panicking);
    const first = panicking[0]?.trace.at ?? 0;
    const last = panicking.at(-1)?.trace.at ?? 0;
    assert.is(first, START + MINUTE);
    assert.ok(last - first >= MINUTE);
    assert.ok(panicking.every(({ desired, trace }) => desired >= trace.current));
    assert.not(decisions.at(-1)?.trace.panicking);
  });
});

suite("schedules of level 1", (test) => {
  const schedules = [
    {
      kind: "weekly",
      days: ["mon"],
      from: "08:00",
      to: "18:00",
      timeZone: "Europe/Berlin",
      min: 5,
    },
    {
      kind: "once",
      from: "2026-11-23T09:00",
      to: "2026-11-23T10:00",
      min: 8,
      max: 12,
      initialMin: 10,
    },
  ];

  test("override the bounds on the clock of their zone; overlaps take the highest min, lowest max", () => {
    const policy = aPolicy({ schedules });
    const boundsAt = (at: number): readonly number[] => {
      const { bounds } = decideOnce(policy, aHistory(), at).trace;
      return [bounds.min, bounds.max];
    };
    assert.equal(boundsAt(START + 6 * HOUR + 59 * MINUTE), [1, 100]);
    assert.equal(boundsAt(START + 7 * HOUR), [5, 100], "08:00 in Berlin is 07:00 UTC in winter");
    assert.equal(boundsAt(START + 9 * HOUR), [8, 12]);
    assert.equal(boundsAt(START + 17 * HOUR), [1, 100]);
  });

  test("begin with the initial minimum, which the minimum then replaces", () => {
    const { counts, decisions } = runWorld({
      policy: aPolicy({
        schedules: [
          {
            kind: "once",
            from: "2026-11-23T00:01",
            to: "2026-11-23T01:00",
            min: 2,
            initialMin: 10,
          },
        ],
      }),
      load: () => 10,
      durationMs: 20 * MINUTE,
    });
    assert.is(counts.find(({ count }) => count === 10)?.ms, MINUTE);
    assert.match(decisions[30]?.reason ?? "", /a schedule begins with at least 10/);
    assert.ok((counts.at(-1)?.count ?? 0) < 10);
  });
});

suite("seasonal floor of level 1", (test) => {
  /** Four weeks with 50 at night and `peak` from 08:00 on Mondays, 100 on other days. */
  function weeks(days: number): SeasonalHistory {
    let history: SeasonalHistory = {};
    for (let at = START - days * DAY; at < START + 8 * HOUR; at += 30 * MINUTE) {
      const hour = new Date(at).getUTCHours();
      const monday = new Date(at).getUTCDay() === 1;
      const load = hour < 8 ? 50 : monday ? 200 : 100;
      history = recordSeasonal(history, [{ metric: "in-flight", load }], {
        now: at,
        lookbackMs: 15 * DAY,
      });
    }
    return history;
  }

  test("is the load of the same time on the same weekday", () => {
    const { seasonal } = aPolicy();
    assert.equal(seasonalLoads(weeks(14), seasonal, START + 8 * HOUR), { "in-flight": 200 });
    assert.equal(seasonalLoads(weeks(14), seasonal, START + 7 * HOUR), { "in-flight": 50 });
  });

  test("takes days of the same kind while there is no such week, and nothing before a whole day", () => {
    const { seasonal } = aPolicy();
    assert.equal(seasonalLoads(weeks(4), seasonal, START + 8 * HOUR), { "in-flight": 100 });
    assert.equal(
      seasonalLoads(weeks(2), seasonal, START + 8 * HOUR),
      {},
      "only a weekend before a Monday",
    );
    assert.equal(seasonalLoads(weeks(0.5), seasonal, START + 8 * HOUR), {});
  });

  test("raises the count in mode scale only, and never lowers it", () => {
    const history = aHistory({ processes: atTarget, seasonal: { "in-flight": 150 } });
    const scale = decideOnce(aPolicy({ seasonal: { mode: "scale" } }), history);
    assert.is(scale.desired, 15);
    assert.equal(scale.trace.source, { kind: "seasonal", metric: "in-flight" });
    const shown = decideOnce(aPolicy(), history);
    assert.equal([shown.desired, shown.trace.floor], [10, 15]);
    const lower = { ...history, seasonal: { "in-flight": 1 } };
    assert.is(decideOnce(aPolicy({ seasonal: { mode: "scale" } }), lower).desired, 10);
  });

  test("keeps its error by the hour", () => {
    const at = (ms: number, sum: number) => ({ at: START + ms, sum, missing: 0 });
    const one = recordForecastError([], { metric: "m", point: at(0, 100), forecast: 80 });
    const two = recordForecastError(one, { metric: "m", point: at(MINUTE, 60), forecast: 80 });
    const three = recordForecastError(two, { metric: "m", point: at(HOUR, 60), forecast: 50 });
    assert.equal(
      three.map(({ samples, actual, absoluteError }) => [samples, actual, absoluteError]),
      [
        [2, 80, 20],
        [1, 60, 10],
      ],
    );
  });

  test("tells level 2 what will be needed at its horizon", () => {
    const policy = aPolicy({ seasonal: { mode: "scale" }, max: 14 });
    const { state } = decideOnce(policy, aHistory({ processes: atTarget }));
    const at = { policy, state, current: 10, horizonMs: 2 * MINUTE, now: START };
    assert.is(processesAtHorizon({ ...at, seasonal: {} }), 10);
    assert.is(processesAtHorizon({ ...at, seasonal: { "in-flight": 124 } }), 13);
    assert.is(processesAtHorizon({ ...at, seasonal: { "in-flight": 999 } }), 14);
  });
});

suite("samples", (test) => {
  test("give processor use in per cent of the limit, and nothing when the counter went back", () => {
    const earlier = { at: 1000, usageUs: 5_000_000 };
    const later = { at: 3000, usageUs: 6_000_000 };
    assert.is(cpuPercent({ earlier, later }, 1000), 50);
    assert.is(cpuPercent({ earlier, later }, 500), 100);
    assert.is(cpuPercent({ earlier: later, later: { at: 5000, usageUs: 100 } }, 1000), undefined);
    assert.is(cpuPercent({ earlier, later: earlier }, 1000), undefined);
  });

  test("of processes that are gone are forgotten", () => {
    const sample = { sequence: 1, at: START, ready: true, values: {} };
    assert.equal(Object.keys(forgetSamples({ a: sample, b: sample }, new Set(["b"]))), ["b"]);
  });
});

suite("victims", (test) => {
  const candidate = (id: string, parts: Partial<Candidate> = {}): Candidate => ({
    id,
    nodeId: "n1",
    inFlight: 0,
    cpuPercent: 0,
    createdAt: 0,
    protected: false,
    ...parts,
  });

  test("are those with least in flight, then least processor use, then on the emptiest node, then newest", () => {
    const candidates = [
      candidate("busy", { inFlight: 3 }),
      candidate("hot", { cpuPercent: 9 }),
      candidate("crowded", { nodeId: "n2" }),
      candidate("old", { createdAt: 1 }),
      candidate("new", { createdAt: 2 }),
    ];
    assert.equal(chooseVictims(candidates, 5, { n1: 4, n2: 9 }), [
      "new",
      "old",
      "crowded",
      "hot",
      "busy",
    ]);
  });

  test("skip protected ones, even if that leaves too few", () => {
    const candidates = [candidate("a", { protected: true }), candidate("b")];
    assert.equal(chooseVictims(candidates, 2, { n1: 2 }), ["b"]);
  });

  test("empty one node rather than thin out two", () => {
    // By their ids alone, one of each node would go in turn.
    const on = (nodeId: string) => (index: number) => candidate(`${index}-${nodeId}`, { nodeId });
    const candidates = [...[1, 2, 3].map(on("n1")), ...[1, 2, 3].map(on("n2"))];
    const victims = chooseVictims(candidates, 3, { n1: 3, n2: 3 });
    assert.equal(victims, ["1-n1", "2-n1", "3-n1"]);
  });

  test("that still drain are taken back first, the busiest before the others", () => {
    const draining = [
      { id: "a", inFlight: 0, since: 5 },
      { id: "b", inFlight: 2, since: 1 },
      { id: "c", inFlight: 0, since: 9 },
    ];
    assert.equal(drainsToCancel(draining, 2), ["b", "c"]);
    assert.equal(drainsToCancel(draining, 9), ["b", "c", "a"]);
  });
});
