import type { ProcessReport } from "@strata/protocol/agent/messages";
import fc from "fast-check";

import { aProcessReport } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";
import { aScaling, patient, type Scaling } from "./support.ts";

const policy = { min: 1, max: 50, warmUp: 0, metrics: [{ kind: "in-flight", target: 10 }] };

const HOUR = 3_600_000;

/** Reports of the one process, second by second: so many connections each. */
function reportsOf(scaling: Scaling, connections: readonly number[]): readonly ProcessReport[] {
  const [assignment] = scaling.agent.told.values();
  if (assignment === undefined) throw new Error("nothing was assigned");
  return connections.map((count, second) =>
    aProcessReport(assignment, {
      metrics: {
        cpuUsageUs: 0,
        memoryBytes: 0,
        pids: 1,
        networkRxBytes: 0,
        networkTxBytes: 0,
        sampledAtMs: HOUR + second * 1000,
        connections: count,
      },
    }),
  );
}

/** What decisions saw, one number each. */
async function seen(scaling: Scaling): Promise<readonly (number | null)[]> {
  const answer = await scaling.controller.call("GET", "/v1/subscriptions/hi/decisions?limit=1000");
  return answer.body.items
    .toReversed()
    .map(({ trace }: { trace: { metrics: { load: number | null }[] } }) => trace.metrics[0]?.load);
}

/** A node whose one process runs and has reported once. */
async function aBegun(): Promise<Scaling> {
  const scaling = await aScaling(policy);
  await scaling.agent.work();
  scaling.controller.settle();
  await scaling.agent.work();
  return scaling;
}

suite("samples on their way", (test) => {
  test(
    "late and repeated reports change no decision",
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.nat({ max: 12 }), { minLength: 5, maxLength: 8 }),
          fc.array(fc.record({ after: fc.nat({ max: 7 }), again: fc.nat({ max: 7 }) }), {
            maxLength: 12,
          }),
          async (connections, echoes) => {
            const live = async (withEchoes: boolean): Promise<readonly (number | null)[]> => {
              await using scaling = await aBegun();
              const reports = reportsOf(scaling, connections);
              for (const [index, report] of reports.entries()) {
                scaling.controller.advance(1000);
                await scaling.agent.report([report], { sequence: 100 + index });
                for (const { after, again } of withEchoes ? echoes : []) {
                  const old = reports[Math.min(again, index)];
                  if (after !== index || old === undefined) continue;
                  await scaling.agent.report([old], { sequence: 100 + Math.min(again, index) });
                }
                scaling.controller.settle();
              }
              return await seen(scaling);
            };
            assert.equal(await live(true), await live(false));
          },
        ),
        { numRuns: 5 },
      );
    },
    patient,
  );

  test(
    "a node whose clock is hours off is believed: only the order of its samples counts",
    async () => {
      await using scaling = await aBegun();
      for (const [index, report] of reportsOf(scaling, [5, 5, 5, 30, 30]).entries()) {
        scaling.controller.advance(1000);
        const startedAt = "2020-01-01T00:00:00Z";
        await scaling.agent.report([{ ...report, startedAt }], { sequence: 100 + index });
        scaling.controller.settle();
      }
      assert.is((await seen(scaling)).at(-1), 30);
    },
    patient,
  );

  test(
    "after a reboot of the node its samples begin anew and are taken in",
    async () => {
      await using scaling = await aBegun();
      const [before, after] = [reportsOf(scaling, [3]), reportsOf(scaling, [9])];
      scaling.controller.advance(2000);
      await scaling.agent.report(before, { sequence: 100 });
      scaling.controller.settle();
      scaling.controller.advance(2000);
      const rebooted = after.map((one) => ({
        ...one,
        ...(one.metrics && { metrics: { ...one.metrics, sampledAtMs: 60_000 } }),
      }));
      await scaling.agent.report(rebooted, { sequence: 1, bootId: "boot-2" });
      scaling.controller.settle();
      assert.is((await seen(scaling)).at(-1), 9);
    },
    patient,
  );

  test(
    "asks only nodes with sampled processes to report more often, within the budget",
    async () => {
      await using scaling = await aScaling(policy);
      await scaling.run(3000);
      const quick = await scaling.agent.report([]);
      assert.is(quick.body.beatIntervalMs, 500);
      await using scarce = await aScaling(policy, {
        environment: { STRATA_REPORTS_PER_SECOND: "1" },
      });
      await scarce.run(3000);
      assert.is((await scarce.agent.report([])).body.beatIntervalMs, 2000);
      await using unsampled = await aScaling({
        min: 1,
        max: 2,
        metrics: [{ kind: "custom", name: "queue", target: 1 }],
      });
      await unsampled.run(3000);
      assert.is((await unsampled.agent.report([])).body.beatIntervalMs, 5000);
    },
    patient,
  );
});

suite("posting metrics", (test) => {
  const queue = { kind: "custom", name: "queue", target: 10 };

  test(
    "refuses a name that nothing asks for, a number that is none, and too many",
    async () => {
      await using scaling = await aScaling({ min: 1, max: 2, metrics: [queue] });
      const path = "/v1/subscriptions/hi/metrics";
      const { call } = scaling.controller;
      const unknown = await call("POST", path, { body: { metrics: { quue: 1 } } });
      assert.is(unknown.status, 422);
      assert.is(unknown.body.code, "METRIC_UNKNOWN");
      assert.match(unknown.body.detail, /knows queue/);
      assert.is((await call("POST", path, { body: { metrics: { queue: "7" } } })).status, 422);
      assert.is((await call("POST", path, { body: {} })).status, 422);
      const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`m${index}`, 1]));
      assert.is((await call("POST", path, { body: { metrics: many } })).status, 422);
      assert.is((await call("POST", "/v1/subscriptions/no/metrics", { body: {} })).status, 422);
      const absent = { body: { metrics: { queue: 1 } } };
      assert.is((await call("POST", "/v1/subscriptions/no/metrics", absent)).status, 404);
    },
    patient,
  );

  test(
    "keeps the newest: an older sample changes nothing, one from the future counts as of now",
    async () => {
      await using scaling = await aScaling({ min: 1, max: 2, metrics: [queue] });
      const { call } = scaling.controller;
      const post = async (at: string, value: number): Promise<{ value: number; at: string }> => {
        const body = { samples: [{ name: "queue", value, at }] };
        return (await call("POST", "/v1/subscriptions/hi/metrics", { body })).body.items[0];
      };
      assert.is((await post("2025-12-31T23:59:30Z", 3)).value, 3);
      assert.is((await post("2025-12-31T23:59:00Z", 2)).value, 3);
      assert.equal(await post("2030-01-01T00:00:00Z", 5), {
        name: "queue",
        value: 5,
        at: "2026-01-01T00:00:00.000Z",
      });
    },
    patient,
  );
});
