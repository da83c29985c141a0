import { createTrafficBook } from "@strata/controller/domain/network/traffic-book";
import type { NetworkReport } from "@strata/protocol/agent/network";

import { aProcessReport, type FakeAgent } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";
import { aNetworkScene } from "./a-network.ts";

const readyOf = (): readonly string[] => ["p", "q"];

function aReport(requests: number, part: Partial<NetworkReport> = {}): NetworkReport {
  return {
    bootId: "one",
    boot: "b",
    revision: 1,
    problems: [],
    endpoints: [{ processId: "p", inFlight: 2, requests, errors: 0 }],
    services: [{ id: "s", queued: 0, requests, errors: 0, latencyMs: 10 }],
    ...part,
  };
}

suite("what goes through ingress nodes", (test) => {
  test("is a rate of what they counted, over about a second, and the sum of all of them", () => {
    const book = createTrafficBook();
    book.take("a", aReport(1000), { at: 0, readyOf });
    assert.equal(book.ofProcess("p"), { inFlight: 2, requests: undefined });
    book.take("a", aReport(1050), { at: 500, readyOf });
    book.take("a", aReport(1100), { at: 1000, readyOf });
    assert.equal(book.ofProcess("p"), { inFlight: 2, requests: 100 });
    book.take("b", aReport(7, { bootId: "two" }), { at: 1000, readyOf });
    book.take("b", aReport(57, { bootId: "two" }), { at: 2000, readyOf });
    assert.equal(book.ofProcess("p"), { inFlight: 4, requests: 150 });
    assert.is(book.ofService("s")?.requests, 150);
    assert.is(book.ofService("s")?.requestsTotal, 150);
  });

  test("begins anew with another life of who counts, and a late report changes nothing", () => {
    const book = createTrafficBook();
    book.take("a", aReport(1000), { at: 0, readyOf });
    book.take("a", aReport(1100), { at: 1000, readyOf });
    book.take("a", aReport(9000), { at: 900, readyOf });
    assert.is(book.ofProcess("p")?.requests, 100);
    book.take("a", aReport(20, { bootId: "two" }), { at: 2000, readyOf });
    assert.is(book.ofProcess("p")?.requests, undefined);
    assert.is(book.ofService("s")?.requestsTotal, 120);
  });

  test("is missing when it is three seconds older than what others said", () => {
    const book = createTrafficBook();
    book.take("a", aReport(1000), { at: 0, readyOf });
    book.take("a", aReport(1100), { at: 1000, readyOf });
    book.noteTime(4000);
    assert.is(book.ofProcess("p")?.requests, 100);
    book.noteTime(4001);
    assert.is(book.ofProcess("p"), undefined);
    assert.is(book.ofService("s"), undefined);
  });

  test("counts who waits as under way, shared by who may answer", () => {
    const book = createTrafficBook();
    const services = [{ id: "s", queued: 6, requests: 5, errors: 0, latencyMs: 1 }];
    book.take("a", aReport(5, { services }), { at: 0, readyOf });
    assert.is(book.ofProcess("p")?.inFlight, 5);
    assert.is(book.ofService("s")?.queued, 6);
  });

  test("says 0 requests of a process that nobody asked yet, and leaves its connections to others", () => {
    const book = createTrafficBook();
    const endpoints = [{ processId: "p", inFlight: 0, requests: 0, errors: 0 }];
    book.take("a", aReport(0, { endpoints }), { at: 0, readyOf });
    assert.equal(book.ofProcess("p"), { inFlight: undefined, requests: undefined });
    book.take("a", aReport(0, { endpoints }), { at: 1000, readyOf });
    assert.equal(book.ofProcess("p"), { inFlight: undefined, requests: 0 });
    assert.is(book.ofProcess("q"), undefined);
  });
});

suite("level 1 with an ingress", (test) => {
  test("scales by requests a second, and figures show them", async () => {
    await using scene = await aNetworkScene();
    const { controller, agent } = scene;
    await scene.put("/v1/scaling-policies/by-requests", {
      min: 1,
      max: 10,
      metrics: [{ kind: "requests", target: 50 }],
      forecast: { enabled: false },
    });
    await scene.put("/v1/subscriptions/hi", {
      cartridge: "hello",
      processes: 2,
      scalingPolicy: "by-requests",
    });
    await scene.run();
    const table = await scene.ask();
    const { boot = "", revision = 0 } = table ?? {};
    const [service] = table?.services ?? [];
    const processes = service?.endpoints.map(({ processId }) => processId) ?? [];
    let counted = 0;
    for (let second = 0; second < 20; second += 1) {
      controller.advance(1000);
      counted += 100;
      await scene.report({
        boot,
        revision,
        endpoints: processes.map((processId) => ({
          processId,
          inFlight: 3,
          requests: counted,
          errors: 0,
        })),
        services: [
          { id: service?.id ?? "", queued: 2, requests: 2 * counted, errors: 0, latencyMs: 20 },
        ],
      });
      await reportProcesses(agent, second);
      controller.settle();
      controller.ticks.recordMetrics();
    }
    // 2 processes with 100 a second each, of 50 wanted.
    const { body } = await controller.call("GET", "/v1/subscriptions/hi");
    assert.is(body.processes, 4);
    assert.is(body.status.message.includes("requests"), false);
    const text = (await controller.call("GET", "/metrics/subscriptions")).body;
    const labels = '{tenant="default",subscription="hi"}';
    assert.match(text, `strata_subscription_queued${labels} 2\n`);
    assert.match(text, `strata_subscription_in_flight${labels} 8\n`);
    assert.match(text, `strata_subscription_latency_seconds${labels} 0.02\n`);
    assert.match(text, `strata_subscription_requests_total${labels} 3800\n`);
    const path = "/v1/metrics/query?metric=requests&subscription=hi&since=1m";
    const { series } = (await controller.call("GET", path)).body;
    assert.is(series[0]?.points.at(-1)?.[1], 200);
  });

  test("puts to sleep what an ingress leads to and nobody ever asked", async () => {
    await using scene = await aNetworkScene();
    const { controller, agent } = scene;
    await scene.put("/v1/scaling-policies/naps", {
      min: 0,
      max: 1,
      idleAfter: "5s",
      stableWindow: "6s",
      stabilisation: { shrink: "0s" },
      metrics: [{ kind: "requests", target: 50 }],
    });
    await scene.put("/v1/subscriptions/nap", {
      cartridge: "hello",
      processes: 1,
      scalingPolicy: "naps",
    });
    await scene.run();
    const wished = async (): Promise<number> =>
      (await controller.call("GET", "/v1/subscriptions/nap")).body.processes;
    assert.is(await wished(), 1);
    for (let second = 0; second < 60 && (await wished()) > 0; second += 1) {
      controller.advance(1000);
      const { boot = "", revision = 0, services = [] } = (await scene.ask()) ?? {};
      const none = { requests: 0, errors: 0 };
      await scene.report({
        boot,
        revision,
        endpoints: services.flatMap(({ endpoints }) =>
          endpoints.map(({ processId }) => ({ processId, inFlight: 0, ...none })),
        ),
        services: services.map(({ id }) => ({ id, queued: 0, latencyMs: 0, ...none })),
      });
      await reportProcesses(agent, second);
      controller.settle();
    }
    assert.is(await wished(), 0);
  });
});

/** With connections that stay open between requests. */
async function reportProcesses(agent: FakeAgent, second: number): Promise<void> {
  await agent.report(
    [...agent.told.values()].map((assignment) =>
      aProcessReport(assignment, {
        address: "10.0.3.7",
        ports: assignment.spec.ports.map((port) => ({ ...port, hostPort: 20_001 })),
        metrics: {
          sampledAtMs: 1000 * (second + 1),
          cpuUsageUs: 0,
          memoryBytes: 1,
          pids: 1,
          networkRxBytes: 0,
          networkTxBytes: 0,
          connections: 40,
        },
      }),
    ),
  );
}
