import { INITIAL_L1_STATE, type L1State } from "@strata/controller/domain/autoscale/l1/model";
import { replay } from "@strata/controller/domain/autoscale/l1/replay";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";
import { aPolicy, type Run, runWorld, SECOND, type World } from "./l1-support.ts";

/** A load that jumps at random times to random heights, for five minutes. */
const loads = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 2000 })), {
    minLength: 1,
    maxLength: 20,
  })
  .map((jumps) => (ms: number): number => {
    let left = ms / SECOND;
    for (const [length, height] of jumps) {
      left -= length;
      if (left < 0) return height;
    }
    return jumps.at(-1)?.[1] ?? 0;
  });

const policies = fc
  .record({
    bounds: fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 60 })),
    target: fc.integer({ min: 1, max: 50 }),
    up: fc.double({ min: 0, max: 0.5, noNaN: true }),
    shrink: fc.constantFrom(0, 10, 60),
    growRate: fc.integer({ min: 1, max: 8 }),
    growPercent: fc.constantFrom(0, 50, 100),
    shrinkPercent: fc.constantFrom(0, 10, 50, 100),
    threshold: fc.constantFrom(null, 1.5, 2),
    idleAfter: fc.constantFrom(0, 30),
  })
  .map(
    ({ bounds, target, up, shrink, growRate, growPercent, shrinkPercent, threshold, idleAfter }) =>
      aPolicy({
        min: Math.min(...bounds),
        max: Math.max(...bounds),
        metrics: [{ kind: "in-flight", target }],
        tolerance: { up },
        stabilisation: { shrink },
        panic: { threshold },
        rates: {
          grow: { processes: growRate, percent: growPercent, period: 15 },
          shrink: { processes: 1, percent: shrinkPercent, period: 60 },
        },
        idleAfter,
      }),
  );

const worlds: fc.Arbitrary<World> = fc.record({
  policy: policies,
  load: loads,
  durationMs: fc.constant(300 * SECOND),
  initial: fc.integer({ min: 0, max: 60 }),
  startMs: fc.constantFrom(0, 4000, 20_000),
});

/** Samples fail in some intervals. */
const withOutages: fc.Arbitrary<World> = fc
  .tuple(worlds, fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }))
  .map(([world, outages]) => ({
    ...world,
    distort: (history, ms) =>
      outages[Math.floor(ms / SECOND / 5) % outages.length] === true
        ? {
            ...history,
            readings: [],
            processes: history.processes.map((one) => ({ ...one, sample: null })),
          }
        : history,
  }));

function always(arbitrary: fc.Arbitrary<World>, check: (run: Run, world: World) => void): void {
  fc.assert(
    fc.property(arbitrary, (world) => check(runWorld(world), world)),
    { numRuns: 60 },
  );
}

suite("properties of level 1", (test) => {
  test("never leaves its bounds", () => {
    always(withOutages, ({ decisions }, { policy }) => {
      for (const { desired } of decisions) {
        assert.ok(desired >= policy.min && desired <= policy.max, `${desired}`);
      }
    });
  });

  test("never shrinks while panicking", () => {
    always(withOutages, ({ decisions }, { policy }) => {
      for (const { desired, trace } of decisions) {
        if (trace.panicking) assert.ok(desired >= Math.min(trace.current, policy.max));
      }
    });
  });

  test("never shrinks while a metric fails and no fallback has taken over", () => {
    always(withOutages, ({ decisions }, { policy }) => {
      for (const { desired, trace } of decisions) {
        const failing = trace.metrics.some(({ failures, fallback }) => failures > 0 && !fallback);
        if (failing) assert.ok(desired >= Math.min(trace.current, policy.max));
      }
    });
  });

  test("keeps the rate limits, but where the bounds demand more", () => {
    always(withOutages, ({ counts, decisions }, { policy }) => {
      const countAt = (ms: number): number =>
        counts.findLast((step) => step.ms <= ms)?.count ?? decisions[0]?.trace.current ?? 0;
      const { grow, shrink } = policy.rates;
      counts.forEach(({ ms, count }, index) => {
        const { current, limits } = decisions[index]?.trace ?? { current: 0, limits: [] };
        if (limits.some(({ limiter }) => limiter === "min" || limiter === "max")) return;
        const before = countAt(ms - grow.period);
        const up = before + Math.max(grow.processes, Math.floor((before * grow.percent) / 100));
        assert.ok(count <= Math.max(current, up), `${before} → ${count} in ${grow.period} ms`);
        const most = countAt(ms - shrink.period);
        const down = most - Math.max(shrink.processes, Math.floor((most * shrink.percent) / 100));
        assert.ok(count >= Math.min(current, down), `${most} → ${count} in ${shrink.period} ms`);
      });
    });
  });

  test("reaches zero only after all has been idle for idleAfter", () => {
    always(withOutages, ({ decisions }, { policy }) => {
      for (const { desired, trace, state } of decisions) {
        if (desired > 0 || trace.current === 0 || policy.max === 0) continue;
        assert.ok(state.idleSince !== null && trace.at - state.idleSince >= policy.idleAfter);
      }
    });
  });

  test("does the same after its state was written and read at any moment", () => {
    always(withOutages, (run, world) => {
      const restart = (state: L1State): L1State => JSON.parse(JSON.stringify(state));
      assert.equal(runWorld({ ...world, between: restart }).decisions, run.decisions);
    });
  });

  test("is replayed exactly", () => {
    always(withOutages, (run, { policy }) => {
      assert.equal(
        replay(policy, JSON.parse(JSON.stringify(run.steps)), INITIAL_L1_STATE),
        run.decisions,
      );
    });
  });

  test("keeps its state small, however long it runs", () => {
    always(worlds, ({ decisions }) => {
      const { series, recommendations, changes } = decisions.at(-1)?.state ?? INITIAL_L1_STATE;
      assert.ok((series["in-flight"]?.length ?? 0) <= 31);
      assert.ok(recommendations.length <= 150 && changes.length <= 60);
    });
  });

  test("settles at the load's own count when nothing changes any more", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 900 }),
        fc.integer({ min: 1, max: 90 }),
        (load, initial) => {
          const policy = aPolicy();
          const { counts } = runWorld({
            policy,
            load: () => load,
            durationMs: 3600 * SECOND,
            initial,
          });
          const last = counts.at(-1)?.count ?? 0;
          const exact = Math.max(1, Math.ceil(load / 10));
          assert.ok(last >= exact / 1.1 - 1 && last <= exact / 0.9 + 1, `${last} for ${exact}`);
        },
      ),
      { numRuns: 8 },
    );
  });
});
