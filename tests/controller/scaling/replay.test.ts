import { replay } from "@strata/controller/domain/autoscale/l1/replay";
import { type DecisionRow, listReplayable } from "@strata/controller/store/decisions";
import { readScalingPolicy } from "@strata/controller/store/scaling-policies";
import { getSubscription } from "@strata/controller/store/subscriptions";
import fc from "fast-check";

import type { TestController } from "../../support/controller.ts";
import { assert, suite } from "../../support/suite.ts";
import { aScaling, queuePolicy } from "./support.ts";

const policy = {
  ...queuePolicy,
  min: 0,
  max: 30,
  idleAfter: "20s",
  warmUp: "5s",
  pauseAfterScale: "8s",
  stabilisation: { shrink: "10s" },
  metrics: [...queuePolicy.metrics, { kind: "cpu", target: 50 }, { kind: "in-flight", target: 4 }],
};

/** What the controller has written down. */
function storedOf({ services }: TestController): readonly DecisionRow[] {
  const { sql } = services.store;
  const row = getSubscription(sql, { tenant: "default", alias: "hi" });
  return listReplayable(sql, row?.id ?? "");
}

/** The same decisions, made again from one stored state to the next. */
function replayed(controller: TestController): readonly object[] {
  const known = readScalingPolicy(controller.services.store.sql, "auto");
  if (known === undefined) throw new Error("there is no policy");
  const rows = storedOf(controller);
  return rows.flatMap((row, index) => {
    if (row.state === null) return [];
    const next = rows.findIndex((other, position) => position > index && other.state !== null);
    const segment = rows.slice(index, next === -1 ? undefined : next);
    const steps = segment.map(({ at, history }) => ({ now: at, history }));
    return replay(known, steps, row.state).map(({ desired, reason, limiter, trace }) => ({
      desired,
      reason,
      limiter,
      trace,
    }));
  });
}

const lived = (rows: readonly DecisionRow[]): readonly object[] =>
  rows.map(({ desired, reason, limiter, trace }) => ({ desired, reason, limiter, trace }));

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("post"), value: fc.nat({ max: 300 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("cpu"), value: fc.nat({ max: 100 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("scale"), value: fc.nat({ max: 30 }) }) },
);

suite("replay", (test) => {
  test(
    "what was decided live comes out of the stored inputs again, whatever happened",
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 12 }), async (steps) => {
          await using scaling = await aScaling(policy);
          let cpuPercent = 10;
          for (const { kind, value } of steps) {
            if (kind === "post") await scaling.post({ queue: value });
            if (kind === "cpu") cpuPercent = value;
            if (kind === "scale") {
              const body = { processes: value };
              await scaling.controller.call("POST", "/v1/subscriptions/hi/scale", { body });
            }
            await scaling.run(4000, () => ({ cpuPercent, connections: value % 7 }));
          }
          const rows = storedOf(scaling.controller);
          assert.ok(rows.length >= 15);
          assert.equal(replayed(scaling.controller), lived(rows));
        }),
        { numRuns: 3 },
      );
    },
    { timeoutMs: 150_000 },
  );

  test("a policy that is changed on the way begins another stretch", async () => {
    await using scaling = await aScaling(policy);
    await scaling.post({ queue: 55 });
    await scaling.run(10_000);
    await scaling.controller.call("PUT", "/v1/scaling-policies/auto", {
      body: { ...policy, max: 20 },
    });
    await scaling.run(10_000);
    const rows = storedOf(scaling.controller);
    const begins = rows.filter(({ state }) => state !== null);
    assert.equal(
      begins.map(({ policyRevision }) => policyRevision),
      [1, 2],
    );
  });
});
