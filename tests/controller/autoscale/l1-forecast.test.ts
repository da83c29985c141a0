import { risesForSure, trendOf } from "@strata/controller/domain/autoscale/l1/forecast";
import { recordSeasonal, seasonalLoads } from "@strata/controller/domain/autoscale/l1/seasonal";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";
import { aPolicy, SECOND, START } from "./l1-support.ts";

const SLOT_MS = 300 * SECOND;
const DAY_MS = 86_400 * SECOND;

const points = (loads: readonly number[]) =>
  loads.map((sum, index) => ({ at: START + 7500 * index, sum, missing: 0 }));

suite("looking ahead for nodes", (test) => {
  test("believes a rise, however uneven, and no fall", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 5, maxLength: 16 }),
        (steps) => {
          let load = 0;
          const loads = steps.map((step) => (load += step));
          const [up, down] = [trendOf(points(loads)), trendOf(points(loads.toReversed()))];
          assert.is(up !== null && risesForSure(up), true);
          assert.is(down !== null && risesForSure(down), false);
        },
      ),
    );
  });

  test("does not take a load that goes up and down for one that rises", () => {
    const loads = [100, 104, 98, 103, 99, 106, 101, 107, 100, 108, 103, 109, 102, 107, 104, 110];
    const trend = trendOf(points(loads));
    assert.ok((trend?.slope ?? 0) > 0, "it has a slope");
    assert.is(trend !== null && risesForSure(trend), false);
  });

  test("expects a load that rose from one slot to the next to be half way at the slot's end", () => {
    const { seasonal } = aPolicy({ seasonal: { mode: "scale" } });
    const loads = [100, 100, 500, 300];
    const history = loads.reduce(
      (before, load, slot) =>
        recordSeasonal(before, [{ metric: "in-flight", load }], {
          now: START + slot * SLOT_MS,
          lookbackMs: seasonal.lookback,
        }),
      {},
    );
    const expected = loads.map(
      (_, slot) => seasonalLoads(history, seasonal, START + DAY_MS + slot * SLOT_MS)["in-flight"],
    );
    assert.equal(expected, [100, 300, 500, 300]);
  });
});
