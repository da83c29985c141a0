import { findCalendarFault, parseCalendar } from "@strata/controller/domain/cron";
import {
  planRun,
  planTurn,
  type RunView,
  runRetryDelayMs,
  type Try,
} from "@strata/controller/domain/jobs";
import type { Exit } from "@strata/protocol/agent/messages";
import type { JobSchedule } from "@strata/protocol/api/jobs";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

const MINUTE = 60_000;
const at = (time: string): number => Date.parse(time);

function timesOf(cron: string, timezone: string, from: string): readonly string[] {
  const calendar = parseCalendar({ cron, timezone });
  const times: string[] = [];
  for (let ms = calendar.next(at(from)); ms !== undefined && times.length < 3;) {
    times.push(new Date(ms).toISOString());
    ms = calendar.next(ms);
  }
  return times;
}

suite("a calendar", (test) => {
  test("keeps to its time zone, whatever becomes of the clock", () => {
    // 02:30 is left out on 29 March and comes twice on 25 October.
    assert.equal(timesOf("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z"), [
      "2026-03-28T01:30:00.000Z",
      "2026-03-29T01:00:00.000Z",
      "2026-03-30T00:30:00.000Z",
    ]);
    assert.equal(timesOf("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z"), [
      "2026-10-25T00:30:00.000Z",
      "2026-10-26T01:30:00.000Z",
      "2026-10-27T01:30:00.000Z",
    ]);
    assert.equal(timesOf("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z"), [
      "2026-10-25T00:00:00.000Z",
      "2026-10-25T01:00:00.000Z",
      "2026-10-25T02:00:00.000Z",
    ]);
  });

  test("says the last time up to a moment as it says the next", () => {
    const calendar = parseCalendar({ cron: "*/7 3-5 * * 1-5", timezone: "America/New_York" });
    const moments = fc.integer({ min: at("2026-01-01T00:00Z"), max: at("2027-01-01T00:00Z") });
    fc.assert(
      fc.property(moments, (moment) => {
        const latest = calendar.latest(moment) ?? Number.NaN;
        assert.ok(latest <= moment);
        assert.ok((calendar.next(latest) ?? Infinity) > moment, "nothing lies between");
      }),
      { numRuns: 50 },
    );
  });

  test("is refused where it is none", () => {
    const fault = (cron: string, timezone = "UTC"): string | undefined =>
      findCalendarFault({ cron, timezone }, 0);
    assert.is(fault("0 3 * * *"), undefined);
    assert.is(fault("0 0 31 2 *"), "it never comes");
    for (const [cron, timezone] of [
      ["* * * * * *"],
      ["soon"],
      ["61 * * * *"],
      ["0 3 * * *", "Mars/Olympus"],
      [""],
    ] as const)
      assert.ok(fault(cron, timezone), cron);
  });
});

suite("planTurn", (test) => {
  const calendar = parseCalendar({ cron: "*/10 * * * *", timezone: "UTC" });
  const seenMs = at("2026-01-01T00:00Z");
  const turn = (
    afterMs: number,
    {
      running = 0,
      concurrency = "forbid",
    }: Partial<{ running: number; concurrency: JobSchedule["concurrency"] }> = {},
  ): string => {
    const schedule = { concurrency, startWithin: 5 * MINUTE };
    const { kind, ...rest } = planTurn(schedule, {
      calendar,
      seenMs,
      nowMs: seenMs + afterMs,
      running,
    });
    return "at" in rest ? `${kind} ${(rest.at - seenMs) / MINUTE}` : kind;
  };

  test("makes up for one time at most, and for none that is too old", () => {
    assert.is(turn(9 * MINUTE), "rest");
    assert.is(turn(10 * MINUTE), "start 10");
    assert.is(turn(15 * MINUTE), "start 10");
    assert.is(turn(16 * MINUTE), "miss 10");
    assert.is(turn(61 * MINUTE), "start 60");
  });

  test("waits for another run, takes its place, or begins beside it", () => {
    assert.is(turn(10 * MINUTE, { running: 1 }), "rest");
    assert.is(turn(16 * MINUTE, { running: 1 }), "miss 10");
    assert.is(turn(10 * MINUTE, { running: 1, concurrency: "replace" }), "start 10");
    assert.is(turn(10 * MINUTE, { running: 1, concurrency: "allow" }), "start 10");
    assert.is(turn(10 * MINUTE, { running: 100, concurrency: "allow" }), "rest");
  });
});

const anExit = (code: number): Exit => ({ code, reason: "exited", at: "2026-01-01T00:00:00Z" });
const aTry = (fields: Partial<Try> = {}): Try => ({
  id: "job-1",
  state: "running",
  exit: null,
  problem: null,
  isLost: false,
  ...fields,
});
const aRun = (fields: Partial<RunView> = {}): RunView => ({
  failures: 0,
  startedMs: 0,
  retryAtMs: undefined,
  nowMs: 1000,
  current: undefined,
  ...fields,
});
const policy = { retries: 2, timeout: undefined };

suite("planRun", (test) => {
  test("tries, waits, and ends as the try ends", () => {
    assert.is(planRun(policy, aRun()).kind, "try");
    assert.is(planRun(policy, aRun({ current: aTry() })).kind, "rest");
    const good = aTry({ state: "stopped", exit: anExit(0) });
    assert.equal(planRun(policy, aRun({ current: good })), {
      kind: "end",
      state: "succeeded",
      reason: null,
      exit: anExit(0),
    });
    const bad = aTry({ state: "failed", exit: anExit(3) });
    assert.equal(planRun(policy, aRun({ current: bad })), {
      kind: "retry",
      atMs: 11_000,
      reason: "ended with 3 (exited)",
      exit: anExit(3),
    });
    const last = planRun(policy, aRun({ current: bad, failures: 2 }));
    assert.ok(last.kind === "end" && last.state === "failed");
  });

  test("waits before the next try, longer each time", () => {
    assert.is(planRun(policy, aRun({ retryAtMs: 1001 })).kind, "rest");
    assert.is(planRun(policy, aRun({ retryAtMs: 1000 })).kind, "try");
    assert.equal([1, 2, 3, 50].map(runRetryDelayMs), [10_000, 20_000, 40_000, 360_000]);
  });

  test("counts a lost node as a failure, and ends what takes too long", () => {
    const lost = planRun(policy, aRun({ current: aTry({ isLost: true }) }));
    assert.ok(lost.kind === "retry" && lost.reason === "its node is lost");
    const timed = { retries: 2, timeout: 1000 };
    const late = planRun(timed, aRun({ current: aTry() }));
    assert.ok(late.kind === "end" && late.state === "failed");
    const justDone = aTry({ state: "stopped", exit: anExit(0) });
    const inTime = planRun(timed, aRun({ current: justDone }));
    assert.ok(inTime.kind === "end" && inTime.state === "succeeded");
  });

  test("comes to an end after at most one try more than it may repeat", () => {
    const outcomes = fc.array(fc.constantFrom("good", "bad", "lost", "gone"), { maxLength: 40 });
    fc.assert(
      fc.property(outcomes, fc.nat(5), (ends, retries) => {
        let failures = 0;
        let tries = 0;
        for (const end of ends) {
          tries += 1;
          // Its node was deleted: the same try again, which costs nothing.
          if (end === "gone") {
            assert.is(planRun({ retries, timeout: undefined }, aRun({ failures })).kind, "try");
            tries -= 1;
            continue;
          }
          const current = aTry({
            state: end === "good" ? "stopped" : end === "bad" ? "failed" : "suspect",
            exit: end === "lost" ? null : anExit(end === "good" ? 0 : 1),
            isLost: end === "lost",
          });
          const step = planRun({ retries, timeout: undefined }, aRun({ failures, current }));
          if (step.kind === "end") {
            assert.is(step.state, end === "good" ? "succeeded" : "failed");
            assert.ok(tries <= retries + 1);
            return;
          }
          assert.is(step.kind, "retry");
          failures += 1;
        }
        assert.ok(tries <= retries, "it still goes on");
      }),
    );
  });
});
