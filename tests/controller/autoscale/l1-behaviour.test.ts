import {
  type History,
  INITIAL_L1_STATE,
  type L1State,
} from "@strata/controller/domain/autoscale/l1/model";
import { replay } from "@strata/controller/domain/autoscale/l1/replay";
import { admitSamples, type SampleLog } from "@strata/controller/domain/autoscale/l1/samples";

import { assert, suite } from "../../support/suite.ts";
import {
  aHistory,
  aPolicy,
  decideOnce,
  directionChanges,
  processesWith,
  runWorld,
  SECOND,
  START,
} from "./l1-support.ts";

const MINUTE = 60 * SECOND;
/** Ten times the load of two processes, after a minute. */
const stepTimesTen = (ms: number): number => (ms < MINUTE ? 20 : 200);

suite("level 1 against a load", (test) => {
  test("decides in two seconds after a step to ten times the load, and does not overshoot", () => {
    const { counts } = runWorld({
      policy: aPolicy(),
      load: stepTimesTen,
      durationMs: 20 * MINUTE,
      initial: 2,
    });
    const grown = counts.find(({ count }) => count > 2);
    assert.ok((grown?.ms ?? Infinity) <= MINUTE + 2 * SECOND, `grew first at ${grown?.ms} ms`);
    const reached = counts.find(({ count }) => count >= 20);
    // 2 → 6 → 12 → 24: three steps of the growth limit, 15 s apart.
    assert.ok((reached?.ms ?? Infinity) <= MINUTE + 32 * SECOND, `20 wished at ${reached?.ms} ms`);
    assert.ok(Math.max(...counts.map(({ count }) => count)) <= 24);
    assert.is(counts.at(-1)?.count, 20);
  });

  test("follows a sine with at most two changes of direction a period", () => {
    const periodMs = 30 * MINUTE;
    const { counts } = runWorld({
      policy: aPolicy(),
      load: (ms) => 200 + 150 * Math.sin((2 * Math.PI * ms) / periodMs),
      durationMs: 4 * periodMs,
      initial: 20,
    });
    const settled = counts.filter(({ ms }) => ms >= periodMs);
    assert.ok(
      directionChanges(settled) <= 2 * 3,
      `${directionChanges(settled)} changes in 3 periods`,
    );
    assert.ok(directionChanges(settled) >= 4, "it does follow");
  });

  test("does not flap under a square wave that is shorter than the window", () => {
    const { counts } = runWorld({
      policy: aPolicy(),
      load: (ms) => (Math.floor(ms / (20 * SECOND)) % 2 === 0 ? 40 : 120),
      durationMs: 30 * MINUTE,
      initial: 8,
    });
    const settled = counts.filter(({ ms }) => ms >= 2 * MINUTE);
    assert.ok(directionChanges(settled) <= 1, `${directionChanges(settled)} changes of direction`);
  });

  test("never shrinks while its metric is out, and then takes the fallback", () => {
    const outage = (history: History, ms: number): History =>
      ms < MINUTE
        ? history
        : {
            ...history,
            processes: history.processes.map((process) => ({ ...process, sample: null })),
          };
    const world = { load: () => 100, durationMs: 10 * MINUTE, initial: 10, distort: outage };
    const held = runWorld({ ...world, policy: aPolicy() });
    assert.ok(held.counts.every(({ count }) => count === 10));
    assert.match(held.decisions.at(-1)?.reason ?? "", /no value of in-flight/);
    const fallback = { mode: "ifHigher", processes: 14 };
    const higher = runWorld({ ...world, policy: aPolicy({ fallback }) });
    const first = higher.counts.find(({ count }) => count > 10);
    assert.is(first?.ms, MINUTE + 2 * 2 * SECOND, "at the third failure");
    assert.is(higher.counts.at(-1)?.count, 14);
  });

  test("shrinks to a static fallback only after the third failure", () => {
    const policy = aPolicy({
      fallback: { mode: "static", processes: 3 },
      stabilisation: { shrink: 0 },
      rates: { shrink: { percent: 100 } },
    });
    const { counts } = runWorld({
      policy,
      load: () => 100,
      durationMs: 2 * MINUTE,
      initial: 10,
      distort: (history) => ({
        ...history,
        processes: history.processes.map((process) => ({ ...process, sample: null })),
      }),
    });
    assert.equal(
      counts.slice(0, 3).map(({ count }) => count),
      [10, 10, 3],
    );
  });

  test("is not moved by clocks that are 30 s wrong in either direction", () => {
    const counts = [-30_000, 0, 30_000].map((skew) => {
      let log: SampleLog = {};
      const policy = aPolicy({ stabilisation: { shrink: 0 } });
      const run = runWorld({
        policy,
        load: stepTimesTen,
        durationMs: 5 * MINUTE,
        initial: 2,
        distort: (history, ms) => {
          const batch = history.processes.flatMap(({ id, sample }) =>
            sample === null ? [] : [{ ...sample, processId: id, at: sample.at + skew }],
          );
          log = admitSamples(log, batch, START + ms);
          return {
            ...history,
            processes: history.processes.map((process) => ({
              ...process,
              sample: log[process.id] ?? null,
            })),
          };
        },
      });
      return run.counts.map(({ count }) => count);
    });
    assert.equal(counts[0], counts[1]);
    assert.equal(counts[2], counts[1]);
  });

  test("is not moved by late and repeated samples", () => {
    const at = START;
    const sample = { ready: true, values: { "in-flight": 10 } };
    const current = admitSamples({}, [{ ...sample, processId: "a", sequence: 7, at }], at);
    const again = admitSamples(
      current,
      [
        { ...sample, processId: "a", sequence: 7, at, values: { "in-flight": 999 } },
        { ...sample, processId: "a", sequence: 6, at: at - 2000, values: { "in-flight": 999 } },
      ],
      at + 5000,
    );
    assert.equal(again, current);
  });

  test("keeps the distances between the samples of one batch", () => {
    const sample = { ready: true, values: {} };
    const log = admitSamples(
      {},
      [
        { ...sample, processId: "a", sequence: 1, at: 5000 },
        { ...sample, processId: "b", sequence: 1, at: 9000 },
      ],
      START,
    );
    assert.equal([log.a?.at, log.b?.at], [START - 4000, START]);
  });

  test("does not take the processor use of starting processes for load", () => {
    const settled = processesWith("cpu", [60, 60, 60, 60]);
    const starting = processesWith("cpu", [300, 300]).map((process, index) => ({
      ...process,
      id: `new${index}`,
      firstReadyAt: START - 10_000,
    }));
    const policy = aPolicy({ metrics: [{ kind: "cpu", target: 60 }] });
    assert.is(decideOnce(policy, aHistory({ processes: [...settled, ...starting] })).desired, 6);
    const warm = decideOnce(
      policy,
      aHistory({ processes: [...settled, ...starting], warmUpMs: 5000 }),
    );
    assert.ok(warm.desired > 6, "a subscription may say its own warm-up");
  });

  test("wakes from zero at the first request, and sleeps again after idleAfter", () => {
    const policy = aPolicy({ min: 0, idleAfter: 120, stabilisation: { shrink: 60 } });
    const { counts } = runWorld({
      policy,
      load: (ms) => (ms >= MINUTE && ms < 2 * MINUTE ? 5 : 0),
      durationMs: 10 * MINUTE,
      initial: 0,
    });
    assert.is(counts.find(({ count }) => count > 0)?.ms, MINUTE);
    const asleep = counts.find(({ ms, count }) => ms > MINUTE && count === 0);
    assert.is(asleep?.ms, 2 * MINUTE + 120 * SECOND);
  });

  test("grows from zero by what is waiting, not by one", () => {
    const { counts } = runWorld({
      policy: aPolicy({ min: 0 }),
      load: (ms) => (ms < 10 * SECOND ? 0 : 200),
      durationMs: 2 * MINUTE,
      initial: 0,
    });
    assert.is(counts.find(({ ms }) => ms === 10 * SECOND)?.count, 4);
    assert.is(counts.at(-1)?.count, 20);
  });

  test("goes on with the same decisions and cooldowns after a restart at any moment", () => {
    const world = {
      policy: aPolicy(),
      load: (ms: number) => (ms < 5 * MINUTE ? stepTimesTen(ms) : 30),
      durationMs: 15 * MINUTE,
      initial: 2,
    };
    const restart = (state: L1State): L1State => JSON.parse(JSON.stringify(state));
    assert.equal(runWorld({ ...world, between: restart }), runWorld(world));
  });

  test("gives exactly the live decisions when a live trace is replayed", () => {
    const policy = aPolicy({ min: 0 });
    const live = runWorld({ policy, load: stepTimesTen, durationMs: 10 * MINUTE, initial: 2 });
    const stored = JSON.parse(JSON.stringify(live.steps));
    assert.equal(replay(policy, stored, INITIAL_L1_STATE), live.decisions);
  });
});
