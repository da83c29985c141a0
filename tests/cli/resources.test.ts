import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { waitFor } from "../../scripts/instance/wait.ts";
import { aFakeAgent, prepare } from "../support/fake-agent.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { aControllerServer, type ControllerServer } from "./support/controller-server.ts";
import { writeFiles } from "./support/recipe-folder.ts";
import { type CliResult, runCli } from "./support/run-cli.ts";

/** An hour after the controller's clock began. */
const now = Date.parse("2026-01-01T01:00:00Z");

async function mustBecome(isSo: () => Promise<boolean>): Promise<void> {
  const answer = await waitFor(async () => ((await isSo()) ? true : undefined), {
    timeoutMs: 20_000,
    pollMs: 10,
  });
  assert.ok(answer === true, "waited in vain");
}

async function strata(server: ControllerServer, ...args: readonly string[]): Promise<CliResult> {
  return runCli(args, { env: server.env, now });
}

/** A subscription `hi` with two processes that run on one node. */
async function aServerWithWork(): Promise<ControllerServer> {
  const server = await aControllerServer();
  await prepare(server.controller, 2);
  const agent = await aFakeAgent(server.controller);
  server.controller.settle();
  await agent.work(() => ({
    ports: [{ name: "http", containerPort: 8080, protocol: "tcp", hostPort: 30_000 }],
  }));
  server.controller.settle();
  return server;
}

suite("get, describe, delete", (test) => {
  test("shows a table with what people look for first", async () => {
    await using server = await aServerWithWork();
    assert.is(
      (await strata(server, "get", "subs")).stdout,
      "ALIAS  CARTRIDGE  PARTITION  READY  STATUS     AGE\n" +
        "hi     hello      web        2/2    as wished  1h\n",
    );
    assert.is(
      (await strata(server, "get", "node", "node-a")).stdout,
      "NAME    PARTITION  STATE  PROCESSES  CPU  MEMORY       ADDRESS    AGE\n" +
        "node-a  web        ready  2          2/4  512MiB/8GiB  192.0.2.1  1h\n",
    );
    const { stdout } = await strata(server, "get", "processes");
    const [head, first, second] = stdout.trimEnd().split("\n");
    assert.match(head ?? "", /^ID +STATE +READY +RESTARTS +NODE +ENDPOINT +AGE$/);
    for (const line of [first, second]) {
      assert.match(
        line ?? "",
        /^hi-\w+ +running +yes +0 +node-a +http:\/\/192\.0\.2\.1:30000 +1h$/,
      );
    }
  });

  test("shows more columns with -o wide, names alone with -o name", async () => {
    await using server = await aServerWithWork();
    const wide = await strata(server, "get", "subscriptions", "-o", "wide");
    assert.match(wide.stdout, /TENANT +GENERATION/);
    assert.is((await strata(server, "get", "nodes", "-o", "name")).stdout, "node-a\n");
  });

  test("shows JSON and YAML that hold the same", async () => {
    await using server = await aServerWithWork();
    const json = await strata(server, "get", "subscription", "hi", "-o", "json");
    const yaml = await strata(server, "get", "subscription", "hi", "-o", "yaml");
    const { parse } = await import("yaml");
    assert.equal(parse(yaml.stdout), JSON.parse(json.stdout));
    assert.is(JSON.parse(json.stdout).alias, "hi");
    const list = await strata(server, "get", "subs", "-o", "json");
    assert.equal(JSON.parse(list.stdout), [JSON.parse(json.stdout)]);
  });

  test("describes a resource with what happened to it, and not to others of its name", async () => {
    await using server = await aServerWithWork();
    await strata(server, "scale", "hi", "3");
    const { stdout } = await strata(server, "describe", "sub", "hi");
    assert.match(stdout, /^alias: hi$/m);
    const events = stdout.slice(stdout.indexOf("Events"));
    assert.match(events, "subscription.created");
    assert.match(events, "subscription hi goes from 2 to 3 processes");
  });

  test("deletes several at once and says what is under way", async () => {
    await using server = await aServerWithWork();
    assert.is(
      (await strata(server, "delete", "sub", "hi")).stdout,
      "Subscription/hi is being deleted\n",
    );
    await strata(server, "apply", "-f", "/dev/null");
    await server.controller.call("PUT", "/v1/partitions/a", { body: {} });
    await server.controller.call("PUT", "/v1/partitions/b", { body: {} });
    const { status, stdout } = await strata(server, "delete", "partition", "a", "b");
    assert.is(status, 0);
    assert.is(stdout, "Partition/a deleted\nPartition/b deleted\n");
  });

  test("follows the pages of a long list to its end", async () => {
    await using server = await aControllerServer();
    const names = Array.from({ length: 230 }, (_, index) => `p${String(index).padStart(3, "0")}`);
    for (const name of names)
      await server.controller.call("PUT", `/v1/partitions/${name}`, { body: {} });
    const { stdout } = await strata(server, "get", "partitions", "-o", "name");
    assert.equal(stdout.trimEnd().split("\n"), names);
  });
});

suite("apply", (test) => {
  const documents =
    "kind: Partition\nname: web\n---\nkind: Partition\nname: db\ndescription: data\n";

  test("shows what would change, then changes it, then has nothing to do", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aControllerServer();
    writeFiles(folder.path, { "a.yaml": documents });
    const apply = (...more: readonly string[]): Promise<CliResult> =>
      strata(server, "apply", "-f", join(folder.path, "a.yaml"), ...more);
    const would = await apply("--dry-run");
    assert.match(would.stdout, "Partition/web would be created");
    assert.is((await strata(server, "get", "partitions", "-o", "name")).stdout, "");
    assert.match(
      (await apply()).stdout,
      /^Partition\/db created$\n {2}description: null -> data$/m,
    );
    assert.is((await apply()).stdout, "Partition/web unchanged\nPartition/db unchanged\n");
  });

  test("takes several files as one change: all of it or nothing", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aControllerServer();
    writeFiles(folder.path, { "a.yaml": documents, "b.yaml": "kind: Partition\nname: NO\n" });
    const files = ["a.yaml", "b.yaml"].flatMap((name) => ["-f", join(folder.path, name)]);
    const { status, stderr } = await strata(server, "apply", ...files);
    assert.is(status, 1);
    assert.match(stderr, "a name has lower-case letters");
    assert.is((await strata(server, "get", "partitions", "-o", "name")).stdout, "");
  });

  test("reads standard input", async () => {
    await using server = await aControllerServer();
    const { Readable } = await import("node:stream");
    const stdin = Readable.from([documents]);
    const { stdout } = await runCli(["apply", "-f", "-"], { env: server.env, stdin });
    assert.match(stdout, "Partition/web created");
  });
});

suite("scale, restart, node", (test) => {
  test("waits until as many processes are ready as wished", async () => {
    await using server = await aControllerServer();
    await prepare(server.controller, 1);
    const agent = await aFakeAgent(server.controller);
    const scaling = strata(server, "scale", "hi", "3", "--wait");
    await mustBecome(async () => {
      server.controller.settle();
      await agent.work();
      return agent.told.size === 3;
    });
    const { status, stdout, stderr } = await scaling;
    assert.is(status, 0, stderr);
    assert.is(stdout, "hi has 3 processes to run\n");
    assert.is(agent.told.size, 3);
  });

  test("gives up waiting with a status of its own", async () => {
    await using server = await aControllerServer();
    await prepare(server.controller, 1);
    const args = ["scale", "hi", "2", "--wait", "--timeout", "0"];
    const { status, stderr } = await runCli(args, { env: server.env });
    assert.is(status, 4);
    assert.match(stderr, "error: not done after 0 s: ");
    assert.match(stderr, "hint: it goes on without you");
  });

  test("cordons, drains and takes nodes back", async () => {
    await using server = await aServerWithWork();
    assert.is((await strata(server, "node", "cordon", "node-a")).stdout, "node-a is cordoned\n");
    assert.is((await strata(server, "node", "drain", "node-a")).stdout, "node-a is draining\n");
    const drain = await strata(server, "node", "drain", "node-a", "--deadline", "10m");
    assert.is(drain.stdout, "node-a is draining until 2026-01-01T00:10:00.000Z\n");
    assert.is((await strata(server, "node", "uncordon", "node-a")).stdout, "node-a is ready\n");
    assert.match((await strata(server, "node", "ls")).stdout, /^node-a +web +ready/m);
  });

  test("gives up a node, one with processes only by force", async () => {
    await using server = await aServerWithWork();
    const held = await runCli(["node", "rm", "node-a"], { env: server.env });
    assert.is(held.status, 1);
    assert.match(held.stderr, /force=true/);
    assert.is((await strata(server, "node", "rm", "node-a", "--force")).status, 0);
    assert.not.match((await strata(server, "node", "ls")).stdout, /node-a/);
  });

  test("upgrades a node or a partition, and says what is served nowhere", async () => {
    await using server = await aServerWithWork();
    const both = await runCli(["node", "upgrade"], { env: server.env });
    assert.match(both.stderr, "name a node, or a partition with --partition");
    const args = ["node", "upgrade", "--partition", "web"];
    const none = await runCli(args, { env: server.env });
    assert.match(none.stderr, /AGENT_NOT_BUILT|no agent for amd64/);
    const { agentDirectory } = server.controller.services.config;
    mkdirSync(agentDirectory, { recursive: true });
    writeFileSync(join(agentDirectory, "strata-agent-linux-amd64"), "an agent");
    assert.is((await strata(server, ...args)).stdout, "node-a: upgrade is wanted, agent test\n");
  });

  test("makes a join token and prints the line to run, or the token alone", async () => {
    await using server = await aServerWithWork();
    const { stdout, stderr } = await strata(server, "node", "join-token", "web", "--uses", "3");
    assert.match(stdout, /^curl .*install\.sh.*\n$/);
    assert.match(stderr, "for 3 nodes of web");
    const quiet = await strata(server, "node", "join-token", "web", "-q", "--expires-in", "5m");
    assert.match(quiet.stdout, /^strata\.[\w-]+\.[\w-]+\.[a-f0-9]{64}\n$/);
  });

  test("shows events, as lines and as JSON", async () => {
    await using server = await aServerWithWork();
    const { stdout } = await strata(server, "events", "--subject", "hi");
    assert.match(stdout, /^2026-01-01T00:00:00Z {2}subscription\.created +hi {2}/m);
    const json = await strata(server, "events", "-o", "json", "--tail", "1");
    assert.is(typeof JSON.parse(json.stdout).id, "number");
  });

  test("follows events as they come, each once, until it is interrupted", async () => {
    await using server = await aControllerServer();
    const interrupt = new AbortController();
    const seen: string[] = [];
    const following = runCli(["events", "-f", "-o", "json", "--tail", "0"], {
      env: server.env,
      signal: interrupt.signal,
      onOutput: (text) => {
        seen.push(...text.trimEnd().split("\n"));
        if (seen.length >= 3) interrupt.abort();
      },
    });
    let made = 0;
    await mustBecome(async () => {
      await server.controller.call("PUT", `/v1/partitions/p${(made += 1)}`, { body: {} });
      return seen.length >= 3;
    });
    assert.is((await following).status, 130);
    const ids = seen.map((line): number => JSON.parse(line).id);
    assert.equal(
      ids,
      ids.map((_, index) => (ids[0] ?? 0) + index),
    );
  });
});
