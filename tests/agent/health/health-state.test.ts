import {
  type Answer,
  beginHealth,
  type HealthState,
  isAsked,
  takeAnswer,
} from "@strata/agent/container/health-state";
import { type ProbeName, probeNames, type ProbePlan } from "@strata/agent/container/probe-plan";
import { growWait, waitForTurn } from "@strata/agent/container/probe-timing";
import type { TcpProbe } from "@strata/protocol/agent/probes";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

const well: Answer = { isWell: true };
const ill: Answer = { isWell: false, why: "GET :80/ answered 503" };

const aProbe = (fields: Partial<TcpProbe> = {}): TcpProbe => ({
  kind: "tcp",
  port: 80,
  intervalMs: 1000,
  timeoutMs: 1000,
  failureThreshold: 3,
  ...fields,
});

type Step = { readonly name: ProbeName; readonly isWell: boolean; readonly elapsedMs: number };

function run(plan: ProbePlan, steps: readonly Step[]): HealthState {
  return steps.reduce(
    (state, { name, isWell, elapsedMs }) =>
      takeAnswer(plan, state, { name, answer: isWell ? well : ill, elapsedMs }),
    beginHealth(plan, { wasStarted: false, wasReady: false }),
  );
}

const answers = (name: ProbeName, marks: string): readonly Step[] =>
  marks.split("").map((mark, index) => ({ name, isWell: mark === "+", elapsedMs: index }));

const count = fc.integer({ min: 1, max: 5 });
const probes = fc.record({ failureThreshold: count, successThreshold: count }).map(aProbe);
const plans: fc.Arbitrary<ProbePlan> = fc
  .record({ startup: probes, readiness: probes, liveness: probes }, { requiredKeys: [] })
  .map((plan) => plan);
const steps = fc.array(
  fc.record({
    name: fc.constantFrom(...probeNames),
    isWell: fc.boolean(),
    elapsedMs: fc.nat(10_000),
  }),
  { maxLength: 40 },
);

suite("the state of a process's health", (test) => {
  test("is ready at once without probes, and with a startup probe when that has succeeded", () => {
    assert.ok(beginHealth({}, { wasStarted: false, wasReady: false }).isReady);
    assert.ok(beginHealth({ liveness: aProbe() }, { wasStarted: false, wasReady: false }).isReady);
    const plan = { startup: aProbe() };
    assert.not.ok(beginHealth(plan, { wasStarted: false, wasReady: false }).isReady);
    assert.ok(beginHealth(plan, { wasStarted: true, wasReady: false }).isReady);
    assert.ok(run(plan, answers("startup", "--+")).isReady);
  });

  test("becomes ready and unready by answers in a row, and says why it is not", () => {
    const plan = { readiness: aProbe({ failureThreshold: 2, successThreshold: 3 }) };
    const isReady = (marks: string): boolean => run(plan, answers("readiness", marks)).isReady;
    assert.equal(["++", "+++", "++-++", "++-+++"].map(isReady), [false, true, false, true]);
    assert.equal(["+++-", "+++--", "+++-+-", "+++--++"].map(isReady), [true, false, true, false]);
    const { reason } = run(plan, answers("readiness", "+++--"));
    assert.is(reason, "readiness probe: GET :80/ answered 503");
    assert.is(run(plan, answers("readiness", "-+++")).reason, undefined);
  });

  test("gives a startup its whole time, however often it is asked", () => {
    const plan = { startup: aProbe({ intervalMs: 1000, failureThreshold: 5 }) };
    const asked = Array.from({ length: 100 }, (_, index) => index * 49);
    const steps = asked.map(
      (elapsedMs) => ({ name: "startup", isWell: false, elapsedMs }) as const,
    );
    assert.is(run(plan, steps).failing, undefined);
    const { failing } = run(plan, [...steps, { name: "startup", isWell: false, elapsedMs: 5000 }]);
    assert.equal(failing, {
      code: "STARTUP_FAILED",
      message: "not started within 5 s: startup probe: GET :80/ answered 503",
    });
  });

  test("is to be ended by liveness failures in a row alone", () => {
    const plan = { readiness: aProbe(), liveness: aProbe() };
    assert.is(run(plan, answers("liveness", "--+--+--")).failing, undefined);
    assert.is(run(plan, answers("readiness", "-------")).failing, undefined);
    const state = run(plan, [...answers("readiness", "+"), ...answers("liveness", "--+---")]);
    assert.is(state.failing?.code, "LIVENESS_FAILED");
    assert.is(state.failing?.message, "liveness probe failed: 3 times: GET :80/ answered 503");
    assert.not.ok(state.isReady);
  });

  test("asks nothing else before the startup, nor anything after the end", () => {
    fc.assert(
      fc.property(plans, steps, (plan, given) => {
        const state = run(plan, given);
        const asked = probeNames.filter((name) => isAsked(plan, state, name));
        if (state.failing !== undefined) assert.equal(asked, []);
        else if (!state.isStarted) assert.equal(asked, ["startup"]);
        else assert.not.ok(asked.includes("startup"));
        assert.ok(!state.isReady || (state.isStarted && state.failing === undefined));
      }),
    );
  });

  test("never changes again once it is to be ended", () => {
    fc.assert(
      fc.property(plans, steps, steps, (plan, before, after) => {
        const state = run(plan, before);
        fc.pre(state.failing !== undefined);
        const next = after.reduce(
          (known, { name, isWell, elapsedMs }) =>
            takeAnswer(plan, known, { name, answer: isWell ? well : ill, elapsedMs }),
          state,
        );
        assert.is(next, state);
      }),
      { numRuns: 50 },
    );
  });

  test("agrees with a look at the whole history", () => {
    const marks = fc.array(fc.boolean(), { maxLength: 30 });
    fc.assert(
      fc.property(probes, marks, (probe, given) => {
        const { failureThreshold, successThreshold = 1 } = probe;
        const tail = (end: number, length: number, isWell: boolean): boolean =>
          end >= length && given.slice(end - length, end).every((one) => one === isWell);
        let expected = false;
        for (let end = 1; end <= given.length; end += 1) {
          if (tail(end, successThreshold, true)) expected = true;
          if (tail(end, failureThreshold, false)) expected = false;
        }
        const state = run(
          { readiness: probe },
          given.map((isWell) => ({ name: "readiness", isWell, elapsedMs: 0 })),
        );
        assert.is(state.isReady, expected);
      }),
    );
  });
});

suite("the timing of probes", (test) => {
  test("comes once in an interval, at the same time of it", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 100, max: 100_000 }),
        fc.nat(1_000_000),
        fc.nat(5000),
        (intervalMs, startMs, turn) => {
          const first = startMs + waitForTurn({ intervalMs }, { nowMs: startMs, turn });
          const second = first + waitForTurn({ intervalMs }, { nowMs: first, turn });
          assert.ok(first - startMs <= intervalMs * 1.1);
          assert.is(Math.round(second - first), intervalMs);
          // A timer that is early by a millisecond is not a turn of its own.
          const early = first - 1 + waitForTurn({ intervalMs }, { nowMs: first - 1, turn });
          assert.is(Math.round(early - first), intervalMs);
        },
      ),
    );
  });

  test("spreads the probes of many processes over the interval", () => {
    const waits = Array.from({ length: 500 }, (_, turn) =>
      waitForTurn({ intervalMs: 2000 }, { nowMs: 0, turn }),
    );
    const perMoment = new Map<number, number>();
    for (const wait of waits) perMoment.set(wait, (perMoment.get(wait) ?? 0) + 1);
    assert.ok(Math.max(...perMoment.values()) <= 30, "no moment has more than a few of them");
    assert.ok(perMoment.size <= 20, "and few moments wake the agent");
  });

  test("asks a process that begins soon and then less and less often", () => {
    const waits: number[] = [];
    for (let index = 0; index < 20; index += 1) waits.push(growWait(waits.at(-1), aProbe()));
    assert.ok((waits[0] ?? 0) < 50);
    assert.ok(waits.every((wait, index) => wait >= (waits[index - 1] ?? 0)));
    assert.is(waits.at(-1), 1000);
  });
});
