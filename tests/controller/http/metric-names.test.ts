/** What is exported, what the reference says, and what the dashboard asks for are the same names. */
import { readFileSync } from "node:fs";

import { aController } from "../../support/controller.ts";
import { aFakeAgent, aProcessReport, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";

const read = (path: string): string =>
  readFileSync(new URL(`../../../docs/${path}`, import.meta.url), "utf8");

const metrics = {
  sampledAtMs: 1,
  cpuUsageUs: 1_500_000,
  memoryBytes: 5,
  pids: 3,
  networkRxBytes: 1,
  networkTxBytes: 2,
  ioReadBytes: 3,
  ioWriteBytes: 4,
  connections: 2,
  oomKills: 0,
};

const paths = ["/metrics", "/metrics/subscriptions", "/metrics/processes"] as const;

/** Name and type of each family that is exported. */
async function scrape(): Promise<ReadonlyMap<string, string>> {
  await using controller = await aController();
  await prepare(controller, 1);
  const agent = await aFakeAgent(controller);
  controller.settle();
  await agent.work((assignment) => aProcessReport(assignment, { metrics }));
  const texts = await Promise.all(
    paths.map(async (path) => String((await controller.call("GET", path)).body)),
  );
  return new Map(
    texts
      .flatMap((text) => [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)])
      .map(([, name = "", type = ""]) => [name, type]),
  );
}

/** Name and type of each row of the reference's tables. */
function documented(): ReadonlyMap<string, string> {
  const rows = read("reference/metrics.md").matchAll(
    /^\| `([a-z0-9_]+)` +\| (counter|gauge|histogram|summary) +\|/gm,
  );
  return new Map([...rows].map(([, name = "", type = ""]) => [name, type]));
}

const sorted = (map: ReadonlyMap<string, string>): readonly string[] =>
  [...map].map(([name, type]) => `${name} ${type}`).toSorted();

suite("names of metrics", (test) => {
  test("are all in the reference with their type, and no others", async () => {
    assert.equal(sorted(documented()), sorted(await scrape()));
  });

  test("of the dashboard are all in the reference", () => {
    const known = documented();
    const panels: { readonly targets?: readonly { readonly expr: string }[] }[] = JSON.parse(
      read("operating/grafana.json"),
    ).panels;
    const used = panels
      .flatMap(({ targets = [] }) => targets)
      .flatMap(({ expr }) => [...expr.matchAll(/\b(?:strata|process|nodejs)_[a-z0-9_]+/g)])
      .map(([name]) => name);
    assert.ok(used.length > 30);
    for (const name of used) {
      const family = name.replace(/_(bucket|sum|count)$/, "");
      const isKnown = known.has(name) || known.get(family) === "histogram";
      assert.ok(isKnown, `${name} is not in docs/reference/metrics.md`);
    }
    for (const name of known.keys())
      if (name.startsWith("strata_") && name !== "strata_process_pids")
        assert.ok(
          used.some((one) => one.replace(/_(bucket|sum|count)$/, "") === name || one === name),
          `the dashboard does not show ${name}`,
        );
  });
});

suite("metrics for Prometheus", (test) => {
  test("of processes and subscriptions need a token, and show its tenant alone", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    controller.settle();
    await agent.work((assignment) => aProcessReport(assignment, { metrics }));
    await controller.call("PUT", "/v1/tenants/other", { body: {} });
    const { body } = await controller.call("POST", "/v1/tokens", {
      body: { name: "other", scope: "viewer", tenant: "other" },
    });
    const [processId = ""] = agent.told.keys();
    const own = (await controller.call("GET", "/metrics/processes")).body;
    const labels = `tenant="default",subscription="hi",process="${processId}",node="node-a"`;
    assert.match(own, `strata_process_cpu_seconds_total{${labels}} 1.5\n`);
    const counts = (await controller.call("GET", "/metrics/subscriptions")).body;
    assert.match(counts, 'strata_subscription_wished{tenant="default",subscription="hi"} 1\n');
    assert.match(counts, 'strata_subscription_ready{tenant="default",subscription="hi"} 1\n');
    for (const path of ["/metrics/processes", "/metrics/subscriptions"]) {
      assert.is((await controller.call("GET", path, { token: "" })).status, 401);
      const answer = await controller.call("GET", path, { token: body.token });
      assert.is(answer.status, 200);
      assert.not.match(answer.body, "default");
    }
  });

  test("count placements, starts and events, and name nobody", async () => {
    await using controller = await aController();
    await prepare(controller, 2);
    const agent = await aFakeAgent(controller);
    controller.settle();
    await agent.work();
    const { body } = await controller.call("GET", "/metrics", { token: "" });
    assert.match(body, "strata_placement_seconds_count 2\n");
    assert.match(body, "strata_process_start_seconds_count 2\n");
    assert.match(body, 'strata_events_total{type="process.placed"} 2\n');
    assert.match(body, "strata_processes_unplaced 0\n");
    assert.not.match(body, /"hi|default|node-a/);
  });
});
