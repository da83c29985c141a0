import { endOfPause, noCrashes, planRestart } from "@strata/agent/container/crash-policy";
import { describeExit } from "@strata/agent/container/exit";
import { planStep, type StepView } from "@strata/agent/container/plan-step";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

suite("planRestart", (test) => {
  test("restarts three times at once, then after 30 s, doubling up to 16 min", () => {
    let history = noCrashes;
    const delays: number[] = [];
    for (let count = 0; count < 11; count += 1) {
      const restart = planRestart(history, 1000);
      delays.push(restart.delayMs / 1000);
      history = restart.history;
    }
    assert.equal(delays, [0, 0, 0, 30, 60, 120, 240, 480, 960, 960, 960]);
  });

  test("begins anew after ten minutes of running", () => {
    assert.equal(planRestart({ failures: 9 }, 600_000), { history: { failures: 1 }, delayMs: 0 });
    assert.is(planRestart({ failures: 9 }, 599_999).delayMs, 960_000);
  });

  test("never waits longer than 16 min, whatever came before", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), (failures, ranMs) => {
        const { delayMs } = planRestart({ failures }, ranMs);
        assert.ok(delayMs >= 0 && delayMs <= 960_000);
      }),
    );
  });
});

const view = (part: Partial<StepView>): StepView => ({
  wanted: "running",
  isRunning: false,
  isOver: false,
  isFailing: false,
  isOutdated: false,
  isResized: false,
  isReady: false,
  isFrozen: false,
  isToSleep: false,
  ended: undefined,
  isOnce: false,
  hasBegun: false,
  startDeadlineMs: 1000,
  retryAtMs: 0,
  nowMs: 500,
  ...part,
});

suite("the pause before a restart", (test) => {
  test("lasts as long as it was set, and no longer when the clock is set back or forth", () => {
    const pause = { fromMs: 10_000, ms: 30_000 };
    assert.is(endOfPause(undefined, 10_000), 0);
    assert.is(endOfPause(pause, 10_000), 40_000);
    const hour = 3_600_000;
    assert.is(endOfPause({ ...pause, fromMs: hour + 10_000 }, 10_000), 10_000);
    assert.ok(endOfPause(pause, 10_000 + hour) <= 10_000 + hour);
  });
});

suite("planStep", (test) => {
  test("starts what is wanted, in time only", () => {
    assert.is(planStep(view({})).kind, "start");
    assert.is(planStep(view({ nowMs: 1001 })).kind, "expire");
    assert.is(planStep(view({ nowMs: 1001, hasBegun: true })).kind, "start");
  });

  test("waits for the time of the next try", () => {
    assert.equal(planStep(view({ retryAtMs: 700 })), { kind: "wait", ms: 200 });
  });

  test("stops what is not wanted or changed, then gives back what it held", () => {
    assert.is(planStep(view({ wanted: "stopped", isRunning: true })).kind, "stop");
    assert.is(planStep(view({ isOutdated: true, isRunning: true })).kind, "stop");
    assert.is(planStep(view({ wanted: "stopped" })).kind, "finish");
    assert.is(planStep(view({ wanted: "gone" })).kind, "forget");
  });

  test("takes notice of an end before anything else", () => {
    assert.is(planStep(view({ wanted: "gone", isRunning: true, isOver: true })).kind, "settle");
  });

  test("changes limits while it runs, and waits where they were refused", () => {
    const resized = { isRunning: true, isResized: true };
    assert.is(planStep(view(resized)).kind, "resize");
    assert.equal(planStep(view({ ...resized, retryAtMs: 700 })), { kind: "wait", ms: 200 });
    assert.is(planStep(view({ ...resized, isOutdated: true })).kind, "stop");
    assert.is(planStep(view({ ...resized, isRunning: false })).kind, "start");
  });

  test("freezes what shall sleep once it is ready, and thaws it before anything else", () => {
    const asleep = { isRunning: true, isToSleep: true };
    assert.is(planStep(view(asleep)).kind, "rest");
    assert.is(planStep(view({ ...asleep, isReady: true })).kind, "freeze");
    assert.is(planStep(view({ ...asleep, isReady: true, isFrozen: true })).kind, "rest");
    const woken = { isRunning: true, isReady: true, isFrozen: true };
    assert.is(planStep(view({ ...woken, isResized: true, retryAtMs: 700 })).kind, "thaw");
    assert.is(planStep(view({ ...woken, wanted: "stopped" })).kind, "stop");
  });

  test("comes to rest, and never starts what has failed for good", () => {
    assert.is(planStep(view({ isRunning: true })).kind, "rest");
    assert.is(planStep(view({ ended: "failed", hasBegun: true })).kind, "rest");
    assert.is(planStep(view({ wanted: "stopped", ended: "stopped" })).kind, "rest");
    assert.is(planStep(view({ ended: "stopped", hasBegun: true })).kind, "start");
    assert.is(planStep(view({ ended: "stopped", hasBegun: true, isOnce: true })).kind, "rest");
  });

  test("never starts what is not wanted, nor a second container", () => {
    const views = fc.record({
      wanted: fc.constantFrom("running" as const, "stopped" as const, "gone" as const),
      isRunning: fc.boolean(),
      isOver: fc.boolean(),
      isFailing: fc.boolean(),
      isOutdated: fc.boolean(),
      isResized: fc.boolean(),
      isReady: fc.boolean(),
      isFrozen: fc.boolean(),
      isToSleep: fc.boolean(),
      ended: fc.constantFrom(undefined, "stopped" as const, "failed" as const),
      isOnce: fc.boolean(),
      hasBegun: fc.boolean(),
      startDeadlineMs: fc.nat(),
      retryAtMs: fc.nat(),
      nowMs: fc.nat(),
    });
    fc.assert(
      fc.property(views, (any) => {
        if (planStep(any).kind === "start") {
          assert.is(any.wanted, "running");
          assert.not.ok(any.isRunning);
          assert.ok(any.nowMs >= any.retryAtMs);
        }
      }),
    );
  });
});

suite("describeExit", (test) => {
  const end = { code: 0, wasOutOfMemory: () => false, wasKilled: false, atMs: 0 };
  test("tells exits, signals, memory and the unknown apart", () => {
    const reasonOf = (part: Partial<Parameters<typeof describeExit>[0]>): string =>
      describeExit({ ...end, ...part }).reason;
    assert.is(reasonOf({ code: 255 }), "exited");
    assert.is(reasonOf({ code: 143 }), "signaled");
    assert.is(reasonOf({ code: 137, wasOutOfMemory: () => true }), "out-of-memory");
    assert.is(reasonOf({ code: 1, wasOutOfMemory: () => true }), "exited");
    assert.is(reasonOf({ code: undefined }), "unknown");
    assert.equal(describeExit({ ...end, code: 1, wasKilled: true }).code, 137);
  });

  test("believes a code that came before the kill that was noted already", () => {
    const { code, reason } = describeExit({ ...end, code: 0, wasKilled: true });
    assert.equal([code, reason], [0, "exited"]);
  });
});
