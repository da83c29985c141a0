import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { patient, put, queuePolicy, roomy, scalingOf } from "../controller/scaling/support.ts";
import { aFakeAgent, prepare } from "../support/fake-agent.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { aControllerServer, type ControllerServer } from "./support/controller-server.ts";
import { type CliResult, runCli } from "./support/run-cli.ts";

async function strata(server: ControllerServer, ...args: readonly string[]): Promise<CliResult> {
  return runCli(args, { env: server.env });
}

/** A subscription `hi` that was scaled from 1 to 5 and on. */
async function aScaledServer(): Promise<ControllerServer> {
  const server = await aControllerServer();
  const { controller } = server;
  await prepare(controller);
  await put(controller, "/v1/scaling-policies/auto", queuePolicy);
  await put(controller, "/v1/subscriptions/hi", { cartridge: "hello", scalingPolicy: "auto" });
  const scaling = scalingOf(controller, await aFakeAgent(controller, { capacity: roomy }));
  await scaling.post({ queue: 8 });
  await scaling.run(6000);
  await scaling.post({ queue: 200 });
  await scaling.run(24_000);
  return server;
}

suite("strata decisions", (test) => {
  test(
    "says in one line each why the count is what it is, the newest last",
    async () => {
      await using server = await aScaledServer();
      const { stdout } = await strata(server, "decisions", "hi", "--changes");
      const lines = stdout.trimEnd().split("\n");
      assert.match(
        lines[0] ?? "",
        /^2026-01-01T00:00:\d\dZ {2}grow from 1 to 5: custom\/queue jumped/,
      );
      assert.match(lines.at(-1) ?? "", /to 10: /);
      const json = await strata(server, "decisions", "hi", "--tail", "1", "--inputs", "-o", "json");
      const decision = JSON.parse(json.stdout);
      assert.is(decision.inputs.current, 10);
      assert.is(decision.trace.metrics[0].metric, "custom/queue");
    },
    patient,
  );
});

suite("strata policy simulate", (test) => {
  test(
    "makes the stored decisions again, exactly",
    async () => {
      await using server = await aScaledServer();
      const { stdout } = await strata(server, "policy", "simulate", "auto", "--subscription", "hi");
      const [, made, same] = /(\d+) decisions made again, (\d+) exactly/.exec(stdout) ?? [];
      assert.ok(Number(made) >= 14);
      assert.is(same, made);
      assert.match(stdout, /█ desired/);
    },
    patient,
  );

  test(
    "plays the stored samples to a changed policy, and draws it",
    async () => {
      await using server = await aScaledServer();
      await using folder = aTemporaryDirectory();
      const svg = join(folder.path, "plot.svg");
      const args = ["--subscription", "hi", "--set", "max=7", "--set", "metrics.0.target=50"];
      const result = await strata(server, "policy", "simulate", "auto", ...args, "--svg", svg);
      assert.is(result.status, 0, result.stderr);
      assert.match(result.stdout, /^auto: load up to 200, [2-7] at most/);
      assert.match(readFileSync(svg, "utf8"), /^<svg .*<\/svg>\n$/s);
    },
    patient,
  );

  test(
    "plays samples of a file, by column or for the first metric",
    async () => {
      await using server = await aScaledServer();
      await using folder = aTemporaryDirectory();
      const rows = Array.from({ length: 60 }, (_, index) => [index * 10, index < 20 ? 5 : 95]);
      const file = join(folder.path, "day.csv");
      writeFileSync(file, rows.map((row) => row.join(",")).join("\n"));
      const plain = await strata(server, "policy", "simulate", "auto", "--file", file, "--json");
      assert.is(plain.status, 0, plain.stderr);
      const answer = JSON.parse(plain.stdout);
      assert.is(answer.mode, "simulation");
      assert.is(answer.highest, 10);
      writeFileSync(file, `seconds,custom/queue\n${rows.map((row) => row.join(",")).join("\n")}`);
      const named = await strata(server, "policy", "simulate", "auto", "--file", file, "--json");
      assert.equal(JSON.parse(named.stdout), answer);
      const json = join(folder.path, "day.json");
      writeFileSync(json, JSON.stringify({ "custom/queue": rows }));
      const listed = await strata(server, "policy", "simulate", "auto", "--file", json, "--json");
      assert.equal(JSON.parse(listed.stdout), answer);
    },
    patient,
  );

  test(
    "refuses what it cannot try, and says what it wants",
    async () => {
      await using server = await aScaledServer();
      await using folder = aTemporaryDirectory();
      const simulate = (...args: readonly string[]): Promise<CliResult> =>
        strata(server, "policy", "simulate", ...args);
      assert.match((await simulate("auto")).stderr, /either --subscription or --file/);
      assert.match(
        (await simulate("none", "--subscription", "hi")).stderr,
        /no scaling policy none/,
      );
      const stored = ["auto", "--subscription", "hi", "--set"];
      assert.match((await simulate(...stored, "max=0")).stderr, /min 1 is above max 0/);
      assert.match((await simulate(...stored, "nonsense=1")).stderr, /nonsense/);
      assert.match((await simulate(...stored, "metrics.9.target=1")).stderr, /no place metrics.9/);
      assert.match((await simulate(...stored, "constructor.prototype.x=1")).stderr, /constructor/);
      const file = join(folder.path, "bad.csv");
      writeFileSync(file, "0,1\n5,minus");
      assert.match((await simulate("auto", "--file", file)).stderr, /line 2 of the trace/);
      const other = join(folder.path, "other.json");
      writeFileSync(other, JSON.stringify({ "custom/other": [[0, 1]] }));
      assert.match(
        (await simulate("auto", "--file", other)).stderr,
        /nothing asks for custom\/other/,
      );
    },
    patient,
  );
});

suite("POST …/simulate", (test) => {
  test(
    "answers with a plot where that is asked for, and lets requests through meanwhile",
    async () => {
      await using server = await aScaledServer();
      const { controller } = server;
      const path = "/v1/scaling-policies/auto/simulate";
      // A week of samples: long enough that whoever waited for it would notice.
      const csv = Array.from({ length: 3000 }, (_, index) => `${index * 200},${index % 90}`).join(
        "\n",
      );
      let done = false;
      const long = controller
        .call("POST", `${path}?format=svg`, { body: { csv, set: { sampleInterval: "20s" } } })
        .finally(() => (done = true));
      assert.is((await controller.call("GET", "/v1/subscriptions/hi")).status, 200);
      assert.not.ok(done, "the simulation runs in a thread of its own");
      const plot = await long;
      assert.is(plot.headers.get("content-type"), "image/svg+xml");
      assert.match(plot.body, /^<svg /);
      const accepted = await controller.call("POST", path, {
        body: { subscription: "hi" },
        headers: { accept: "image/svg+xml" },
      });
      assert.match(accepted.body, /^<svg /);
    },
    patient,
  );
});
