import type { ProcessMetrics } from "@strata/protocol/agent/messages";

import { aController, type TestController } from "../../support/controller.ts";
import { aFakeAgent, aProcessReport, type FakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";

const MIB = 1024 ** 2;

/** Two processes: one uses a quarter of a processor, the other three quarters. */
async function aBusySubscription(controller: TestController): Promise<FakeAgent> {
  await prepare(controller, 2);
  const agent = await aFakeAgent(controller);
  controller.settle();
  return agent;
}

/** So many seconds, with a report and a point every ten. Returns the ids of the processes. */
async function pass(
  controller: TestController,
  agent: FakeAgent,
  seconds: number,
): Promise<readonly string[]> {
  const { clock } = controller.services;
  for (let at = 0; at < seconds; at += 10) {
    controller.advance(10_000);
    await agent.poll();
    await agent.report(
      [...agent.told.values()].map((assignment, index) =>
        aProcessReport(assignment, { metrics: metricsOf(index, clock.monotonicMs()) }),
      ),
    );
    controller.ticks.recordMetrics();
    controller.settle();
  }
  return [...agent.told.keys()];
}

function metricsOf(index: number, uptimeMs: number): ProcessMetrics {
  return {
    sampledAtMs: uptimeMs,
    cpuUsageUs: uptimeMs * (index === 0 ? 250 : 750),
    memoryBytes: (index + 1) * 10 * MIB,
    pids: 3,
    networkRxBytes: uptimeMs,
    networkTxBytes: 0,
  };
}

async function points(
  controller: TestController,
  query: string,
): Promise<{ labels: object; points: [number, number][] }[]> {
  const answer = await controller.call("GET", `/v1/metrics/query?${query}`);
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  return answer.body.series;
}

suite("GET /v1/metrics/query", (test) => {
  test("says what each process used, and what its subscription and its node did together", async () => {
    await using controller = await aController();
    const agent = await aBusySubscription(controller);
    const [first = "", second = ""] = await pass(controller, agent, 120);
    const last = async (query: string): Promise<unknown> =>
      (await points(controller, query)).map(({ labels, points }) => [labels, points.at(-1)?.[1]]);
    const web = { tenant: "default", subscription: "hi" };
    assert.equal(await last("metric=cpu&by=process&since=5m"), [
      [{ ...web, process: first, node: "node-a" }, 250],
      [{ ...web, process: second, node: "node-a" }, 750],
    ]);
    assert.equal(await last("metric=cpu&since=5m"), [[web, 1000]]);
    assert.equal(await last("metric=cpu&agg=avg&subscription=hi"), [[web, 500]]);
    assert.equal(await last("metric=memory&agg=max&subscription=hi"), [[web, 20 * MIB]]);
    assert.equal(await last("metric=memory&agg=min&subscription=hi"), [[web, 10 * MIB]]);
    assert.equal(await last("metric=network-rx&node=node-a"), [[{ node: "node-a" }, 2000]]);
    assert.equal(await last("metric=ready&since=2m"), [[web, 2]]);
    assert.equal(await last("metric=wished&since=2m"), [[web, 2]]);
    assert.equal(await last(`metric=pids&process=${second}`), [
      [{ ...web, process: second, node: "node-a" }, 3],
    ]);
  });

  test("has a point for each step that something is known of", async () => {
    await using controller = await aController();
    const agent = await aBusySubscription(controller);
    await pass(controller, agent, 300);
    const [series] = await points(controller, "metric=processes&since=10m&step=60s");
    const times = series?.points.map(([at]) => at) ?? [];
    assert.ok(times.length >= 5 && times.length <= 6, `${times.length} points`);
    assert.ok(
      times.every((at, index) => at % 60 === 0 && at - (times[index - 1] ?? at - 60) === 60),
    );
  });

  test("holds what a silent agent said for a minute, then says nothing of it", async () => {
    await using controller = await aController();
    const agent = await aBusySubscription(controller);
    await pass(controller, agent, 60);
    for (let round = 0; round < 20; round += 1) {
      controller.advance(10_000);
      controller.ticks.recordMetrics();
    }
    const [series] = await points(controller, "metric=processes&since=10m&step=10s");
    const counts = series?.points.map(([, count]) => count) ?? [];
    assert.is(counts.at(-1), 0);
    const held = counts.lastIndexOf(2) - 5;
    assert.ok(held >= 5 && held <= 7, `${held} points held`);
  });

  test("shows a tenant its own alone", async () => {
    await using controller = await aController();
    const agent = await aBusySubscription(controller);
    await pass(controller, agent, 60);
    await controller.call("PUT", "/v1/tenants/other", { body: {} });
    const made = await controller.call("POST", "/v1/tokens", {
      body: { name: "other", scope: "viewer", tenant: "other" },
    });
    const { token } = made.body;
    const asOther = (query: string): ReturnType<TestController["call"]> =>
      controller.call("GET", `/v1/metrics/query?${query}`, { token });
    assert.is(made.status, 201, JSON.stringify(made.body));
    for (const query of ["metric=cpu", "metric=cpu&by=process", "metric=cpu&subscription=hi"])
      assert.equal((await asOther(query)).body.series, [], query);
    assert.is((await asOther("metric=cpu&tenant=default")).status, 403);
    assert.is((await points(controller, "metric=cpu&tenant=*")).length, 1);
  });

  test("refuses what it cannot answer, and says what to write", async () => {
    await using controller = await aController();
    const agent = await aBusySubscription(controller);
    await pass(controller, agent, 30);
    for (const [query, hint] of [
      ["metric=cpu&since=14d&step=10s", /step/],
      ["metric=speed", /openapi/],
      ["metric=wished&by=process&subscription=hi", /names/],
      ["metric=cpu&since=yesterday", /since=15m/],
      ["metric=cpu&since=1h&until=2h", /until/],
      ["metric=cpu&step=1s", /usual/],
      ["metric=cpu&by=node&subscription=hi", /leave/],
      ["metric=cpu&by=subscription&node=node-a", /by=process/],
    ] as const) {
      const { status, body } = await controller.call("GET", `/v1/metrics/query?${query}`);
      assert.is(status, 422, query);
      assert.match(body.hint, hint);
    }
  });

  test("names every metric with its unit", async () => {
    await using controller = await aController();
    const { body } = await controller.call("GET", "/v1/metrics/names");
    for (const { name, by } of body.items) {
      const query = `metric=${name}&by=${by[0]}&since=5m`;
      assert.is((await controller.call("GET", `/v1/metrics/query?${query}`)).status, 200, query);
    }
    assert.ok(body.items.length >= 11);
  });
});
