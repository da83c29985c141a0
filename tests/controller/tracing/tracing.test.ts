/** The real controller with the real exporter, and a collector that takes what it sends: OTLP over HTTP as JSON. */
import { setTimeout as delay } from "node:timers/promises";

import { createSpanLog } from "@strata/agent/container/span-log";
import { readConfig } from "@strata/controller/config";
import { createTracedProcesses } from "@strata/controller/tracing/traced-processes";
import { noTracing, openTracing, type Tracing } from "@strata/controller/tracing/tracing";

import { aController, type TestController } from "../../support/controller.ts";
import { aFakeAgent, aProcessReport, type FakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, suite, throwsWithCode } from "../../support/suite.ts";
import {
  attributesOf,
  aTraceCollector,
  type Span,
  type TraceCollector,
} from "../../support/trace-collector.ts";

function openTo({ url }: Pick<TraceCollector, "url">, share = 1): Promise<Tracing> {
  const { tracesUrl } = readConfig({ OTEL_EXPORTER_OTLP_ENDPOINT: `${url}/` });
  return openTracing({ tracesUrl, tracesShare: share }, { nowMs: () => Date.now() });
}

const CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/** A subscription is put by a caller that traces, and the node pulls, starts and reports. */
async function startProcess(controller: TestController): Promise<FakeAgent> {
  await prepare(controller);
  const agent = await aFakeAgent(controller);
  await controller.call("PUT", "/v1/subscriptions/hi", {
    body: { cartridge: "hello" },
    headers: { traceparent: CALLER },
  });
  controller.settle();
  await agent.poll();
  const log = createSpanLog(() => performance.now());
  for (const assignment of agent.told.values()) {
    await log.measure({ assignment, name: "pull image" }, () => delay(20));
    await log
      .measure({ assignment, name: "start container" }, () =>
        Promise.reject(Object.assign(new Error("no"), { code: "START_FAILED" })),
      )
      .catch(() => undefined);
    await log.measure({ assignment, name: "start container" }, () => delay(5));
  }
  const processes = [...agent.told.values()].map((assignment) => aProcessReport(assignment));
  await agent.report(processes, { spans: log.take() });
  return agent;
}

suite("traces", (test) => {
  test("lead from a caller's request to the steps on the node, as one", async () => {
    await using collector = await aTraceCollector();
    const tracing = await openTo(collector);
    await using controller = await aController({ tracing });
    const agent = await startProcess(controller);
    const [processId = ""] = agent.told.keys();
    await tracing.close();
    const spans = collector.spans.filter(({ traceId }) => traceId === CALLER.split("-")[1]);
    const named = (name: string): Span[] => spans.filter((span) => span.name === name);
    const [put] = named("PUT /v1/subscriptions/:alias");
    const [start] = named("start process");
    const [pull] = named("pull image");
    const containers = named("start container");
    if (put === undefined || start === undefined || pull === undefined)
      throw new Error(`only ${spans.map(({ name }) => name).join(", ")}`);
    assert.is(put.parentSpanId, CALLER.split("-")[2]);
    assert.is(attributesOf(put)["http.response.status_code"], 201);
    assert.is(start.parentSpanId, put.spanId);
    assert.equal(attributesOf(start), {
      "strata.process": processId,
      "strata.tenant": "default",
      "strata.subscription": "hi",
    });
    for (const step of [pull, ...containers]) assert.is(step.parentSpanId, start.spanId);
    assert.equal(
      containers.map(({ status }) => status.message),
      ["START_FAILED", undefined],
    );
    const tookNs = BigInt(pull.endTimeUnixNano) - BigInt(pull.startTimeUnixNano);
    assert.ok(tookNs >= 19_000_000n, `${tookNs} ns`);
    assert.is(spans.length, 5, "and nothing else is of this trace");
    assert.is(agent.told.get(processId)?.traceparent?.split("-")[2], start.spanId);
  });

  test("begin here for who traces nothing, and leave out what agents and probes ask", async () => {
    await using collector = await aTraceCollector();
    const tracing = await openTo(collector);
    await using controller = await aController({ tracing });
    await startProcess(controller);
    await controller.call("GET", "/healthz");
    await controller.call("GET", "/v1/nodes", { headers: { traceparent: "rubbish" } });
    await tracing.close();
    const own = collector.spans.filter(({ traceId }) => traceId !== CALLER.split("-")[1]);
    const names = own.map(({ name }) => name);
    assert.ok(names.includes("PUT /v1/partitions/:name") && names.includes("GET /v1/nodes"));
    assert.ok(own.every(({ parentSpanId }) => parentSpanId === undefined || parentSpanId === ""));
    assert.equal(
      names.filter((name) => /reports|assignments|healthz/.test(name)),
      [],
    );
  });

  test("of which a share of 0 is kept are those of callers alone", async () => {
    await using collector = await aTraceCollector();
    const tracing = await openTo(collector, 0);
    await using controller = await aController({ tracing });
    await startProcess(controller);
    await tracing.close();
    assert.ok(collector.spans.length >= 5);
    assert.ok(collector.spans.every(({ traceId }) => traceId === CALLER.split("-")[1]));
  });

  test("that nobody collects hold nothing up", async () => {
    const tracing = await openTo({ url: "http://127.0.0.1:9" });
    await using controller = await aController({ tracing });
    await startProcess(controller);
    assert.is((await controller.call("GET", "/v1/subscriptions/hi")).body.status.ready, 1);
    await tracing.close();
  });

  test("are not made without an endpoint, and agents are told nothing of them", async () => {
    const { tracesUrl, tracesShare } = readConfig({});
    assert.is(await openTracing({ tracesUrl, tracesShare }, { nowMs: () => 0 }), noTracing);
    await using controller = await aController();
    const agent = await startProcess(controller);
    for (const { traceparent } of agent.told.values()) assert.is(traceparent, undefined);
  });

  test("want settings that are understood", () => {
    throwsWithCode(
      () => readConfig({ OTEL_EXPORTER_OTLP_ENDPOINT: "collector" }),
      "SETTING_INVALID",
    );
    throwsWithCode(() => readConfig({ OTEL_TRACES_SAMPLER_ARG: "half" }), "SETTING_INVALID");
    const url = "https://collector/own";
    assert.is(readConfig({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: url }).tracesUrl, url);
  });
});

suite("processes that are traced", (test) => {
  test("are forgotten after a while, and when there are too many", () => {
    let now = 0;
    const forgotten: string[] = [];
    const traced = createTracedProcesses<string, string>({
      nowMs: () => now,
      onForgotten: (span) => forgotten.push(span),
    });
    traced.noteChange("default/web", "put");
    for (let index = 0; index < 10_005; index += 1) traced.open(`p${index}`, `span ${index}`);
    assert.is(forgotten.length, 5);
    assert.is(traced.get("p0"), undefined);
    assert.is(traced.get("p5"), "span 5");
    now += 11 * 60_000;
    assert.is(traced.causeOf("default/web"), undefined);
    traced.open("late", "late");
    assert.is(forgotten.length, 10_005);
    traced.close();
    assert.is(forgotten.at(-1), "late");
  });

  test("are the request's no longer when something else changes their subscription", () => {
    const traced = createTracedProcesses<string, string>({
      nowMs: () => 0,
      onForgotten: () => undefined,
    });
    traced.noteChange("default/web", "put");
    assert.is(traced.causeOf("default/web"), "put");
    traced.noteChange("default/web", undefined);
    assert.is(traced.causeOf("default/web"), undefined);
  });
});
