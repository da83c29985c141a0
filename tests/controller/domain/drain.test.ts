import { drainTerms, endOfNotice, isDrained, type Draining } from "@strata/controller/domain/drain";
import { DrainInput } from "@strata/protocol/api/drain";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

const aDrain = (changes: Partial<Draining> = {}): Draining => ({
  deadline: 30_000,
  noticeUntil: 2000,
  isReleased: true,
  counted: undefined,
  ...changes,
});

const anyDrain = fc.record({
  deadline: fc.nat({ max: 100 }),
  noticeUntil: fc.nat({ max: 100 }),
  isReleased: fc.boolean(),
  counted: fc.option(fc.record({ at: fc.nat({ max: 100 }), inFlight: fc.nat({ max: 2 }) }), {
    nil: undefined,
  }),
});

suite("isDrained", (test) => {
  test("waits for the end of the notice, for the ingresses and for a count from after it", () => {
    assert.is(isDrained(aDrain(), 1999), false);
    assert.is(isDrained(aDrain(), 2000), true);
    assert.is(isDrained(aDrain({ isReleased: false }), 29_999), false);
    const counted = (at: number, inFlight: number): Draining =>
      aDrain({ counted: { at, inFlight } });
    assert.is(isDrained(counted(1999, 0), 5000), false, "somebody may have come since");
    assert.is(isDrained(counted(2000, 1), 5000), false);
    assert.is(isDrained(counted(2000, 0), 5000), true);
  });

  test("is over at the deadline whatever is in flight, but not before the end of the notice", () => {
    fc.assert(
      fc.property(anyDrain, fc.nat({ max: 120 }), (one, nowMs) => {
        const over = isDrained(one, nowMs);
        if (nowMs < one.noticeUntil) assert.not(over);
        else if (nowMs >= one.deadline) assert.ok(over);
        else if (!one.isReleased) assert.not(over);
        if (over) assert.ok(isDrained(one, nowMs + 1), "it stays over");
      }),
    );
  });

  test("gives the notice anew when the controller was away meanwhile", () => {
    assert.is(endOfNotice(5000, { startedMs: 1000, noticeMs: 2000 }), 5000);
    assert.is(endOfNotice(5000, { startedMs: 4000, noticeMs: 2000 }), 6000);
  });
});

suite("drainTerms", (test) => {
  test("takes what the subscription says, then what its scaling policy says, then 2 s and 30 s", () => {
    const policy = { drainMax: 50_000 };
    assert.equal(drainTerms(null, undefined), { noticeMs: 2000, maxMs: 30_000 });
    assert.equal(drainTerms(null, policy), { noticeMs: 2000, maxMs: 50_000 });
    assert.equal(drainTerms({ max: 9000 }, policy), { noticeMs: 2000, maxMs: 9000 });
    assert.equal(drainTerms({ notice: 5000 }, policy), { noticeMs: 5000, maxMs: 50_000 });
    assert.equal(drainTerms({ max: 0 }, policy), { noticeMs: 0, maxMs: 0 });
    assert.equal(drainTerms(null, { drainMax: 0 }), { noticeMs: 2000, maxMs: 2000 });
  });

  test("refuses a notice that is longer than the drain, or too long a one of either", () => {
    assert.equal(DrainInput.parse({ notice: "5s", max: "1m" }), { notice: 5000, max: 60_000 });
    assert.equal(DrainInput.parse({}), {});
    for (const wrong of [
      { notice: "5s", max: "4s" },
      { notice: "61s" },
      { max: "61m" },
      { min: 1 },
    ])
      assert.is(DrainInput.safeParse(wrong).success, false, JSON.stringify(wrong));
  });
});
