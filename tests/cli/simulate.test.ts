import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { runCli } from "./support/run-cli.ts";

const scenario = `
name: shop
duration: 40m
providers: [{ name: cloud, bootTime: 60s }]
partitions:
  - name: web
    policy:
      providers:
        - { provider: cloud, flavor: m, capacity: { cpu: 4, memory: 8Gi, pids: 8000 }, price: 0.1 }
subscriptions:
  - name: site
    partition: web
    capacity: 100
    load: { kind: trace, trace: load.csv }
    policy: { max: 500, metrics: [{ kind: requests, target: 85 }] }
`;

function writeScenario(folder: string, text = scenario): string {
  writeFileSync(join(folder, "load.csv"), "seconds,requests\n0,500\n1200,4000\n2400,500\n");
  const path = join(folder, "shop.yaml");
  writeFileSync(path, text);
  return path;
}

suite("strata simulate", (test) => {
  test("sets a scenario beside the baselines, and says on standard error how far it is", async () => {
    await using folder = aTemporaryDirectory();
    const { status, stdout, stderr } = await runCli(["simulate", writeScenario(folder.path)]);
    assert.is(status, 0, stderr);
    const [head = "", ...rows] = stdout.trimEnd().split("\n");
    assert.match(head, /^RUN +COST +AGAINST KUBERNETES +VIOLATED/);
    assert.equal(
      rows.map((row) => row.split(" ")[0]),
      ["strata", "kubernetes", "kubernetes-same-target", "fixed-peak"],
    );
    assert.match(rows[0] ?? "", /^strata +\d+\.\d\d +[-+]\d+\.\d % /);
    assert.is(stderr.match(/simulated in/g)?.length, 4);
  });

  test("gives programs all figures as JSON, the same ones every time", async () => {
    await using folder = aTemporaryDirectory();
    const path = writeScenario(folder.path);
    const first = await runCli(["simulate", path, "--json"]);
    const second = await runCli(["simulate", path, "--json"]);
    assert.is(first.stdout, second.stdout);
    const { scenario: name, runs } = JSON.parse(first.stdout);
    assert.equal([name, runs.length, runs[0].name], ["shop", 4, "strata"]);
    assert.ok(runs[0].cost > 0 && runs[0].offered > 0 && runs[0].nodesAdded > 0);
  });

  test("draws in the terminal, and writes one SVG for each run and subscription", async () => {
    await using folder = aTemporaryDirectory();
    const plots = join(folder.path, "plots");
    const args = ["simulate", writeScenario(folder.path), "--plot", "--svg", plots];
    const { stdout } = await runCli(args);
    assert.match(stdout, /site: load up to [34]\d{3}/);
    assert.equal(readdirSync(plots).toSorted(), [
      "fixed-peak-site.svg",
      "kubernetes-same-target-site.svg",
      "kubernetes-site.svg",
      "strata-site.svg",
    ]);
    assert.match(readFileSync(join(plots, "strata-site.svg"), "utf8"), /^<svg /);
  });

  test("runs the scenario alone when asked to", async () => {
    await using folder = aTemporaryDirectory();
    const { stdout } = await runCli(["simulate", writeScenario(folder.path), "--alone"]);
    assert.is(stdout.trimEnd().split("\n").length, 2);
  });

  test("names each field that is wrong by its path", async () => {
    await using folder = aTemporaryDirectory();
    const twisted = scenario
      .replace("partition: web", "partition: wob")
      .replace("provider: cloud", "provider: clod");
    const { status, stderr } = await runCli(["simulate", writeScenario(folder.path, twisted)]);
    assert.is(status, 2);
    assert.match(stderr, "subscriptions.0.partition: the scenario has no partition wob");
    assert.match(stderr, "partitions.0.policy.providers.0.provider: the scenario has no provider");
    const bad = scenario.replace("capacity: 100", "capacity: -1\n    colour: blue");
    const second = await runCli(["simulate", writeScenario(folder.path, bad)]);
    assert.is(second.status, 2);
    assert.match(second.stderr, "subscriptions.0.capacity: ");
    assert.match(second.stderr, /subscriptions\.0: .*colour/);
  });

  test("refuses files that are not there, not YAML or not a trace, and says which", async () => {
    await using folder = aTemporaryDirectory();
    const path = writeScenario(folder.path);
    const nothing = await runCli(["simulate", join(folder.path, "none.yaml")]);
    assert.equal([nothing.status, /none\.yaml is not a file/.test(nothing.stderr)], [2, true]);
    writeFileSync(join(folder.path, "load.csv"), "seconds,requests\n0,1\n60;2\n");
    const trace = await runCli(["simulate", path]);
    assert.is(trace.status, 2);
    assert.match(trace.stderr, /load\.csv is not a trace[\s\S]*line 3/);
    writeFileSync(path, "a: [");
    const yaml = await runCli(["simulate", path]);
    assert.is(yaml.status, 2);
    assert.match(yaml.stderr, "shop.yaml is neither YAML nor JSON");
  });

  test("ends at an interrupt", async () => {
    await using folder = aTemporaryDirectory();
    const { status, stdout } = await runCli(["simulate", writeScenario(folder.path)], {
      signal: AbortSignal.abort("SIGINT"),
    });
    assert.equal([status, stdout], [130, ""]);
  });
});
