/** Jobs: runs by asking and by a calendar, against agents that say what the test wants. */
import { join } from "node:path";

import type { ProcessReport } from "@strata/protocol/agent/messages";
import type { Job, JobRun } from "@strata/protocol/api/jobs";

import { aController, type Answer, type TestController } from "../../support/controller.ts";
import { aFakeAgent, type FakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const MINUTE = 60_000;

const put = (controller: TestController, name: string, body: object): Promise<Answer> =>
  controller.call("PUT", `/v1/jobs/${name}`, { body: { cartridge: "hello", ...body } });
const run = (controller: TestController, name: string, body: object = {}): Promise<Answer> =>
  controller.call("POST", `/v1/jobs/${name}/run`, { body });
const getJob = async (controller: TestController, name: string): Promise<Job> =>
  (await controller.call("GET", `/v1/jobs/${name}`)).body;
const runsOf = async (controller: TestController, name: string): Promise<readonly JobRun[]> =>
  (await controller.call("GET", `/v1/jobs/${name}/runs`)).body.items;
const statesOf = async (controller: TestController, name: string): Promise<readonly string[]> =>
  (await runsOf(controller, name)).map(({ state }) => state);
const codeOf = ({ status, body }: Answer): readonly [number, string] => [status, body.code];

const exits = (code: number): Partial<ProcessReport> => ({
  state: code === 0 ? "stopped" : "failed",
  ready: false,
  lastExit: { code, reason: "exited", at: "2026-01-01T00:00:00Z" },
  ...(code === 0 ? {} : { problem: { code: "EXITED", message: `ended with ${code} (exited)` } }),
});

/** A node that remembers how its processes ended, as a real one does. */
type Node = {
  readonly agent: FakeAgent;
  /** Every process that it shall run ends so, or runs where there is no code. */
  readonly work: (code?: number) => Promise<void>;
  /** Ids of those that it shall run and that have not ended. */
  readonly running: () => readonly string[];
  /** It reports as time passes. */
  readonly pass: (ms: number) => Promise<void>;
};

async function aNode(controller: TestController, name = "node-a"): Promise<Node> {
  const agent = await aFakeAgent(controller, { name });
  const ended = new Map<string, number>();
  const work = async (code?: number): Promise<void> => {
    await agent.work(({ processId, desired }) => {
      if (desired === "running" && code !== undefined && !ended.has(processId))
        ended.set(processId, code);
      const known = ended.get(processId);
      return known === undefined ? {} : exits(known);
    });
    controller.settle();
    await agent.poll();
  };
  return {
    agent,
    work,
    running: () =>
      [...agent.told.values()]
        .filter(({ processId, desired }) => desired === "running" && !ended.has(processId))
        .map(({ processId }) => processId),
    pass: async (ms) => {
      for (let left = ms; left > 0; left -= 5000) {
        controller.advance(Math.min(left, 5000));
        await work();
      }
    },
  };
}

suite("a run that somebody asks for", (test) => {
  test("is one process that is not started again, and ends as that does", async () => {
    await using controller = await aController();
    await prepare(controller);
    const created = await put(controller, "import", { args: ["--all"] });
    assert.is(created.status, 201);
    const node = await aNode(controller);
    const begun = await run(controller, "import");
    assert.is(begun.status, 201);
    await node.work();
    const [processId = ""] = node.running();
    const assignment = node.agent.told.get(processId);
    assert.equal([assignment?.spec.restart, assignment?.spec.args], ["never", ["--all"]]);
    assert.match(processId, /^import-/);
    await node.work(0);
    const [ended] = await runsOf(controller, "import");
    assert.equal([ended?.state, ended?.exit?.code, ended?.failures], ["succeeded", 0, 0]);
    assert.equal(
      ended?.processes.map(({ id, node: name }) => [id, name]),
      [[processId, "node-a"]],
    );
    // Its log is there as long as the run is known: the node still holds it.
    await node.work();
    assert.ok(node.agent.told.has(processId));
    assert.equal((await controller.call("GET", "/v1/subscriptions")).body.items, []);
    assert.equal((await getJob(controller, "import")).status.running, 0);
  });

  test("may have arguments of its own, which the next one does not", async () => {
    await using controller = await aController();
    await prepare(controller);
    await put(controller, "import", { args: ["usual"], concurrency: "allow" });
    const node = await aNode(controller);
    await run(controller, "import", { args: ["special"] });
    await run(controller, "import");
    await node.work();
    const args = [...node.agent.told.values()].map(({ spec }) => spec.args?.[0]);
    assert.equal(
      args.toSorted((left = "", right = "") => left.localeCompare(right)),
      ["special", "usual"],
    );
  });

  test("is tried again after growing pauses, and fails in the end", async () => {
    await using controller = await aController();
    await prepare(controller);
    await put(controller, "import", { retries: 2 });
    const node = await aNode(controller);
    await run(controller, "import");
    for (const pauseMs of [10_000, 20_000]) {
      controller.settle();
      await node.work(3);
      const [failing] = await runsOf(controller, "import");
      assert.equal([failing?.state, failing?.exit?.code], ["running", 3]);
      await node.pass(pauseMs - 5000);
      assert.equal(node.running(), [], "too early");
      await node.pass(5000);
      assert.is(node.running().length, 1);
    }
    await node.work(4);
    const [failed] = await runsOf(controller, "import");
    assert.equal([failed?.state, failed?.exit?.code, failed?.failures], ["failed", 4, 2]);
    assert.is(failed?.processes.length, 3);
    assert.match(failed?.reason ?? "", "ended with 4");
    const types = (await controller.call("GET", "/v1/events?subject=import")).body.items;
    const named = types.map(({ type }: { type: string }) => type.replace("job.", ""));
    assert.equal(
      named.filter((type: string) => ["started", "retried", "failed"].includes(type)).toSorted(),
      ["failed", "retried", "retried", "started"],
    );
  });

  test("that takes too long is stopped, and one that is cancelled as well", async () => {
    await using controller = await aController();
    await prepare(controller);
    await put(controller, "slow", { timeout: "30s", retries: 5 });
    await put(controller, "other", {});
    const node = await aNode(controller);
    await run(controller, "slow");
    const other = await run(controller, "other");
    controller.settle();
    await node.work();
    assert.is(node.running().length, 2);
    await node.pass(30_000);
    assert.equal(await statesOf(controller, "slow"), ["failed"]);
    const cancel = `/v1/jobs/other/runs/${other.body.id}/cancel`;
    assert.is((await controller.call("POST", cancel)).body.state, "cancelled");
    assert.is((await controller.call("POST", cancel)).body.state, "cancelled");
    await node.work();
    assert.equal(node.running(), []);
    assert.is((await run(controller, "slow")).status, 201, "there is room for the next");
  });

  test("goes on elsewhere when its node is lost", async () => {
    await using controller = await aController();
    await prepare(controller);
    await put(controller, "import", { retries: 1, lostAfter: "60s" });
    const lost = await aNode(controller, "node-a");
    await run(controller, "import");
    controller.settle();
    await lost.work();
    const [first = ""] = lost.running();
    const other = await aNode(controller, "node-b");
    await other.pass(120_000);
    const [second = ""] = other.running();
    assert.ok(second !== "" && second !== first);
    await other.work(0);
    assert.equal(await statesOf(controller, "import"), ["succeeded"]);
    // The old one is told to stop when its node returns.
    await lost.work();
    assert.equal(lost.running(), []);
  });

  test("is refused, waits for none, or takes a place, as the job says", async () => {
    await using controller = await aController();
    await prepare(controller);
    const node = await aNode(controller);
    await put(controller, "import", {});
    await run(controller, "import");
    assert.equal(codeOf(await run(controller, "import")), [409, "JOB_RUNNING"]);
    await put(controller, "import", { concurrency: "replace" });
    await run(controller, "import");
    controller.settle();
    await node.work();
    assert.equal((await statesOf(controller, "import")).toSorted(), ["cancelled", "running"]);
    assert.is(node.running().length, 1);
  });

  test("counts in the tenant's quota", async () => {
    await using controller = await aController();
    await prepare(controller);
    const quota = { quota: { processes: 1 } };
    await controller.call("PUT", "/v1/tenants/default", { body: quota });
    await put(controller, "import", { concurrency: "allow" });
    assert.is((await run(controller, "import")).status, 201);
    assert.is((await run(controller, "import")).body.code, "QUOTA_EXCEEDED");
  });
});

suite("a calendar of a job", (test) => {
  const hourly = { cron: "0 * * * *" };

  test("begins a run for each time, once, and one at most for those that nobody saw", async () => {
    await using folder = aTemporaryDirectory();
    const file = join(folder.path, "strata.db");
    const environment = { STRATA_DATA: folder.path };
    const startMs = Date.parse("2026-01-01T00:30:00Z");
    {
      await using controller = await aController({ file, environment, startMs });
      await prepare(controller);
      await put(controller, "nightly", { ...hourly, concurrency: "allow" });
      controller.settle();
      assert.equal(await runsOf(controller, "nightly"), []);
      controller.advance(30 * MINUTE);
      controller.settle();
      controller.settle();
      assert.is((await runsOf(controller, "nightly")).length, 1);
    }
    // Killed there and then, it starts nothing twice; down for hours, it makes up for the last time alone.
    await using again = await aController({
      file,
      environment,
      startMs: startMs + 31 * MINUTE,
      firstId: 2_000_000,
    });
    again.settle();
    assert.is((await runsOf(again, "nightly")).length, 1);
    again.advance(3 * 60 * MINUTE);
    again.settle();
    const runs = await runsOf(again, "nightly");
    assert.equal(
      runs.map(({ scheduledAt }) => scheduledAt),
      ["2026-01-01T04:00:00.000Z", "2026-01-01T01:00:00.000Z"],
    );
  });

  test("leaves out what could not begin in time, and rests while suspended", async () => {
    await using controller = await aController({ startMs: Date.parse("2026-01-01T00:30:00Z") });
    await prepare(controller);
    await put(controller, "nightly", { ...hourly, startWithin: "5m" });
    controller.advance(40 * MINUTE);
    controller.settle();
    assert.equal(await runsOf(controller, "nightly"), []);
    const { items } = (await controller.call("GET", "/v1/events?subject=nightly")).body;
    assert.ok(items.some(({ type }: { type: string }) => type === "job.missed"));
    await put(controller, "nightly", { ...hourly, suspended: true });
    controller.advance(60 * MINUTE);
    controller.settle();
    assert.is((await getJob(controller, "nightly")).status.nextRunAt, null);
    // What came while it rested is not made up for.
    await put(controller, "nightly", hourly);
    controller.settle();
    assert.equal(await runsOf(controller, "nightly"), []);
    assert.is((await getJob(controller, "nightly")).status.nextRunAt, "2026-01-01T03:00:00.000Z");
    controller.advance(60 * MINUTE);
    controller.settle();
    assert.is((await runsOf(controller, "nightly")).length, 1);
  });

  test("is refused where it is none", async () => {
    await using controller = await aController();
    await prepare(controller);
    for (const wrong of [{ cron: "soon" }, { cron: "0 0 31 2 *" }, { timezone: "Mars/Olympus" }]) {
      const answer = await put(controller, "nightly", wrong);
      assert.equal(codeOf(answer), [422, "INVALID"]);
    }
    assert.is((await controller.call("GET", "/v1/jobs/nightly")).status, 404);
  });
});

suite("a job", (test) => {
  test("keeps its last runs, and their processes, alone", async () => {
    await using controller = await aController();
    await prepare(controller);
    await put(controller, "import", { keepRuns: 2 });
    const node = await aNode(controller);
    for (let index = 0; index < 4; index += 1) {
      await run(controller, "import");
      controller.settle();
      await node.work(0);
      await node.pass(5000);
    }
    assert.is((await runsOf(controller, "import")).length, 2);
    assert.is(node.agent.told.size, 2);
    // A node that is given away keeps none, or it would never be empty.
    await controller.call("POST", "/v1/nodes/node-a/drain");
    await node.work();
    assert.is(node.agent.told.size, 0);
    assert.is((await controller.call("DELETE", "/v1/nodes/node-a")).status, 204);
  });

  test("goes with all that it runs, and may come back", async () => {
    await using controller = await aController();
    await prepare(controller);
    await put(controller, "import", {});
    const node = await aNode(controller);
    await run(controller, "import");
    controller.settle();
    await node.work();
    assert.is(node.running().length, 1);
    assert.is((await controller.call("DELETE", "/v1/jobs/import")).status, 202);
    assert.is((await controller.call("GET", "/v1/jobs/import")).status, 404);
    assert.equal((await controller.call("GET", "/v1/jobs")).body.items, []);
    await node.work();
    await node.work();
    await node.work();
    assert.is(node.agent.told.size, 0);
    assert.is((await put(controller, "import", {})).status, 201);
    assert.equal(await runsOf(controller, "import"), []);
  });

  test("runs what its cartridge is by then", async () => {
    await using controller = await aController();
    await prepare(controller);
    await put(controller, "import", { concurrency: "allow" });
    const node = await aNode(controller);
    await run(controller, "import");
    await node.work();
    const newer = { image: "hello:2", partition: "web" };
    await controller.call("PUT", "/v1/cartridges/hello", { body: newer });
    await run(controller, "import");
    await node.work();
    await node.work();
    const digests = [...node.agent.told.values()].map(({ spec }) => spec.image.digest);
    assert.is(new Set(digests).size, 2, "the first goes on with what it began with");
    assert.equal(
      [...node.agent.told.values()].map(({ spec }) => spec.restart),
      ["never", "never"],
    );
    const inUse = await controller.call("DELETE", "/v1/cartridges/hello");
    assert.equal(codeOf(inUse), [409, "IN_USE"]);
  });

  test("is written again as it is without a change, and says what changed", async () => {
    await using controller = await aController();
    await prepare(controller);
    const body = { cron: "0 3 * * *", timezone: "Europe/Berlin", retries: 1, timeout: "1h" };
    await put(controller, "import", body);
    const again = await put(controller, "import", body);
    assert.equal([again.status, again.body.revision, again.body.timeout], [200, 1, 3600]);
    const document = `kind: Job\nname: import\ncartridge: hello\ncron: 0 4 * * *\n`;
    const applied = await controller.call("POST", "/v1/apply?dryRun=true", { body: document });
    assert.is(applied.body.results[0].action, "updated");
    assert.is((await getJob(controller, "import")).cron, "0 3 * * *");
    const stale = await controller.call("PUT", "/v1/jobs/import", {
      body: { cartridge: "hello" },
      headers: { "if-match": '"9"' },
    });
    assert.is(stale.status, 412);
  });

  test("is its tenant's alone, and a viewer starts none", async () => {
    await using controller = await aController();
    await prepare(controller);
    await put(controller, "import", {});
    const { body } = await run(controller, "import");
    await controller.call("PUT", "/v1/tenants/acme", { body: {} });
    const tokenOf = async (scope: string, tenant: string): Promise<string> => {
      const fields = { name: `${scope}-${tenant}`, scope, tenant };
      return (await controller.call("POST", "/v1/tokens", { body: fields })).body.token;
    };
    const stranger = await tokenOf("deployer", "acme");
    for (const [method, path] of [
      ["GET", "/v1/jobs/import"],
      ["GET", `/v1/jobs/import/runs/${body.id}`],
      ["POST", `/v1/jobs/import/runs/${body.id}/cancel`],
      ["DELETE", "/v1/jobs/import"],
    ] as const)
      assert.is((await controller.call(method, path, { token: stranger })).status, 404, path);
    const viewer = await tokenOf("viewer", "default");
    const refused = await controller.call("POST", "/v1/jobs/import/run", {
      token: viewer,
      body: {},
    });
    assert.is(refused.status, 403);
  });
});
