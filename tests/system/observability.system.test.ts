/** What people see of real containers: their logs by time and text, what they use, and how they came to run. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { MetricAnswer } from "@strata/protocol/api/metrics";

import { aRunningInstance, mustBecome, strata } from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";
import { aTraceCollector } from "../support/trace-collector.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER = "00f067aa0ba902b7";

const script =
  "i=0; while :; do i=$((i+1)); echo tick $i; [ $((i % 5)) = 0 ] && echo WARNING $i; sleep 1; done";

suite("containers that run", (test) => {
  test(
    "can be searched, measured and traced",
    async () => {
      await using collector = await aTraceCollector();
      await using running = await aRunningInstance({
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      });
      const { instance, mustCall, call } = running;
      const adminToken = readFileSync(join(instance.data, "admin-token"), "utf8").trim();
      const made = await fetch(`${instance.url}/v1/subscriptions/chatter`, {
        method: "PUT",
        headers: {
          authorization: `Bearer ${adminToken}`,
          "content-type": "application/json",
          traceparent: `00-${TRACE}-${CALLER}-01`,
        },
        body: JSON.stringify({
          cartridge: "hello",
          processes: 2,
          command: ["/bin/sh", "-c", script],
          args: [],
        }),
      });
      assert.is(made.status, 201, await made.text());
      const ids = (await running.readyProcesses("chatter", 2)).map(({ id }) => id);

      const found = await mustBecome("both processes have warned", async () => {
        const args = ["--since", "10m", "--grep", "^warning \\d+$", "-E", "-i", "-o", "json"];
        const lines = (await strata(instance, "logs", "chatter", ...args)).trim().split("\n");
        const items = lines.filter((line) => line !== "").map((line) => JSON.parse(line));
        return new Set(items.map((item) => item.process)).size === 2 ? items : undefined;
      });
      assert.ok(found.every(({ text }) => /^WARNING \d+$/.test(text)));
      const times = found.map(({ at }) => Date.parse(at));
      assert.equal(
        times,
        times.toSorted((one, other) => one - other),
      );
      const spread = (times.at(-1) ?? 0) - (times[0] ?? 0);
      assert.ok(spread < 10 * 60_000, "the times are those of the lines");
      assert.is(
        (await strata(instance, "logs", "chatter", "--until", "1d", "-o", "json")).trim(),
        "",
      );

      const measured = await mustBecome("what both use is known", async () => {
        const query = "metric=memory&by=process&subscription=chatter&since=10m";
        const { series } = MetricAnswer.parse(await mustCall("GET", `/v1/metrics/query?${query}`));
        return series.length === 2 ? series : undefined;
      });
      assert.equal(new Set(measured.map(({ labels }) => labels.process)), new Set(ids));
      for (const { points } of measured) assert.ok((points.at(-1)?.[1] ?? 0) > 0);
      assert.match(await strata(instance, "metrics", "query", "memory"), "chatter");
      const { text } = await call("GET", "/metrics/processes");
      for (const id of ids)
        assert.match(text, new RegExp(`strata_process_memory_bytes{[^}]*"${id}"[^}]*} \\d`));

      const steps = await mustBecome("the steps of both starts are traced", () => {
        const ours = collector.spans.filter(({ traceId }) => traceId === TRACE);
        const containers = ours.filter(({ name }) => name === "start container");
        const hasStarts = ours.filter(({ name }) => name === "start process").length === 2;
        return Promise.resolve(hasStarts && containers.length === 2 ? ours : undefined);
      });
      const put = steps.find(({ parentSpanId }) => parentSpanId === CALLER);
      assert.is(put?.name, "PUT /v1/subscriptions/:alias");
      const starts = steps.filter(({ name }) => name === "start process");
      assert.ok(starts.every(({ parentSpanId }) => parentSpanId === put?.spanId));
      const parents = new Set(starts.map(({ spanId }) => spanId));
      for (const { name, parentSpanId = "" } of steps)
        if (name === "start container" || name === "pull image")
          assert.ok(parents.has(parentSpanId), name);
    },
    { timeoutMs: 600_000 },
  );
});
