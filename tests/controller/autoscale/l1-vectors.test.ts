import { extrapolate } from "@strata/controller/domain/autoscale/l1/forecast";
import { ceilCount } from "@strata/controller/domain/autoscale/statistics";

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

/** No limiter but the need itself. */
const free = {
  metrics: [{ kind: "cpu", target: 100 }],
  stabilisation: { shrink: 0 },
  panic: { threshold: null },
};

suite("reference vectors of level 1", (test) => {
  test("4 processes, cpu average 200 of target 100: 8", () => {
    const history = aHistory({ processes: processesWith("cpu", [200, 200, 200, 200]) });
    assert.is(decideOnce(aPolicy(free), history).desired, 8);
  });

  test("10 processes, 108 of 100: 10, inside the tolerance", () => {
    const history = aHistory({
      processes: processesWith(
        "cpu",
        Array.from({ length: 10 }, () => 108),
      ),
    });
    const decision = decideOnce(aPolicy(free), history);
    assert.is(decision.desired, 10);
    assert.is(decision.trace.raw, 10);
  });

  test("7 processes, 5 at 150 and 2 missing, target 100: 7, since (750 + 0) / 700 = 1.07", () => {
    const history = aHistory({
      processes: processesWith("cpu", [150, 150, 150, 150, 150, null, null]),
    });
    const decision = decideOnce(aPolicy(free), history);
    assert.is(decision.desired, 7);
    assert.is(decision.trace.metrics[0]?.stableLoad, 750);
    assert.is(decision.trace.metrics[0]?.missing, 2);
  });

  test("growth from 1 with a huge need: 1, 5, 10, 20, 40, one step per 15 s", () => {
    const { counts } = runWorld({
      policy: aPolicy({ sampleInterval: 1 }),
      load: () => 1e6,
      durationMs: 59 * SECOND,
      startMs: SECOND,
    });
    const changes = counts.filter(({ count }, index) => count !== counts[index - 1]?.count);
    assert.equal(
      changes.map(({ ms, count }) => [ms, count]),
      [
        [0, 5],
        [15_000, 10],
        [30_000, 20],
        [45_000, 40],
      ],
    );
  });

  test("average 100, slope +2/s, target 20, horizon 60 s: 220, so 11", () => {
    const load = extrapolate({ average: 100, slope: 2, highest: 160 }, 60_000);
    assert.is(load, 220);
    assert.is(ceilCount(load / 20), 11);
  });

  test("the same forecast out of a window of samples", () => {
    // 60 points of one second, from 41 to 159: on average 100.
    const policy = aPolicy({
      metrics: [{ kind: "in-flight", target: 20 }],
      sampleInterval: 1,
      dryRun: true,
      forecast: { horizon: 60 },
    });
    const { decisions } = runWorld({
      policy,
      load: (ms) => 41 + (2 * ms) / SECOND,
      durationMs: 59 * SECOND,
      initial: 5,
    });
    const trace = decisions.at(-1)?.trace;
    assert.is(trace?.metrics[0]?.stableLoad, 100);
    assert.is(Math.round((trace?.metrics[0]?.slope ?? 0) * 1e6) / 1e6, 2);
    assert.is(Math.round(trace?.metrics[0]?.forecastLoad ?? 0), 220);
    assert.is(trace?.metrics[0]?.forecastNeed, 11);
    assert.equal(trace?.source, { kind: "forecast", metric: "in-flight" });
    assert.is(decisions.at(-1)?.desired, 10, "at most twice as many in 15 s");
  });

  test("min 2, 6 active, load exactly at target: 6, not 2", () => {
    const history = aHistory({
      processes: processesWith("in-flight", [10, 10, 10, 10, 10, 10], START),
    });
    assert.is(decideOnce(aPolicy({ min: 2, stabilisation: { shrink: 0 } }), history).desired, 6);
  });
});
