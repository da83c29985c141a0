import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

import { queryPrometheus } from "@strata/controller/loops/prometheus-query";

import { aPrometheus, PROMETHEUS } from "../../support/prometheus.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aScaling, type Scaling } from "./support.ts";

const query = "sum by (queue) (jobs_waiting)";
const policy = {
  min: 1,
  max: 20,
  metrics: [
    { kind: "prometheus", name: "jobs", source: "shop", query, target: 10, interval: "1s" },
  ],
};

const jobs = (mail: number, print: number): string =>
  `jobs_waiting{queue="mail"} ${mail}\njobs_waiting{queue="print"} ${print}\n`;

/** Polls, with real time for the answers, until the subscription is as wanted. */
async function until(scaling: Scaling, holds: () => Promise<boolean>): Promise<void> {
  const { external } = scaling.controller.services;
  for (let tries = 0; tries < 200; tries += 1) {
    external.poll();
    // Prometheus runs by the real clock; the controller's is moved along.
    await delay(100);
    await scaling.run(500);
    if (await holds()) return;
  }
  throw new Error("it did not come about");
}

suite("metrics from Prometheus", (test) => {
  if (!existsSync(PROMETHEUS)) {
    test.skip("scales by a query's sum, and never shrinks while it fails", "no prometheus here");
    return;
  }

  test(
    "scales by a query's sum, and never shrinks while it fails",
    async () => {
      await using prometheus = await aPrometheus(jobs(3, 4));
      await using scaling = await aScaling(policy, {
        environment: { STRATA_PROMETHEUS: `shop=${prometheus.url}` },
      });
      prometheus.page = jobs(30, 45);
      await until(scaling, async () => (await scaling.desired()) >= 7);
      const [{ trace }] = (
        await scaling.controller.call("GET", "/v1/subscriptions/hi/decisions?limit=1")
      ).body.items;
      assert.is(trace.metrics[0].load, 75, "both series together");
      await prometheus.stop();
      await until(scaling, async () => {
        const { body } = await scaling.controller.call("GET", "/v1/subscriptions/hi");
        return /no value of the metric prometheus\/jobs/.test(body.status.message ?? "");
      });
      assert.ok((await scaling.desired()) >= 7);
      await scaling.controller.services.external.close();
    },
    { timeoutMs: 120_000 },
  );

  test(
    "says what a query gave, and why one gave nothing",
    async () => {
      await using prometheus = await aPrometheus(jobs(3, 4));
      const { url } = prometheus;
      const signal = AbortSignal.timeout(60_000);
      const ask = (text: string): Promise<number> => queryPrometheus({ url, query: text, signal });
      assert.is(await ask("scalar(vector(4.5))"), 4.5);
      await rejectsWithCode(ask("jobs_absent"), "PROMETHEUS_EMPTY");
      await rejectsWithCode(ask("vector(NaN)"), "PROMETHEUS_EMPTY");
      await rejectsWithCode(ask("sum("), "PROMETHEUS_REFUSED");
      await rejectsWithCode(ask("jobs_waiting[5m]"), "PROMETHEUS_REFUSED");
      assert.is(await ask("vector(1) or vector(0)"), 1);
      await prometheus.stop();
      await rejectsWithCode(ask("vector(1)"), "PROMETHEUS_UNREACHABLE");
    },
    { timeoutMs: 60_000 },
  );

  test("gives up on an answer that never ends, and sends the operator's password alone", async () => {
    let authorization: string | undefined;
    const server = createServer((request, response) => {
      ({ authorization } = request.headers);
      if (request.url !== "/prom/api/v1/query") return void response.writeHead(404).end();
      response.write(" ".repeat(5 * 1024 * 1024));
    });
    server.listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    // The cast: a server that listens on TCP has such an address.
    const { port } = server.address() as AddressInfo;
    const url = `http://me:pass%21@127.0.0.1:${port}/prom/`;
    const signal = AbortSignal.timeout(20_000);
    await rejectsWithCode(
      queryPrometheus({ url, query: "vector(1)", signal }),
      "PROMETHEUS_UNREACHABLE",
    );
    assert.is(authorization, `Basic ${Buffer.from("me:pass!").toString("base64")}`);
    server.closeAllConnections();
    server.close();
  });
});
