/** A whole application on a real installation: order of starts, jobs with their ends and tries, volumes that last. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { JobRun } from "@strata/protocol/api/jobs";
import { ExecResult, listOf } from "@strata/protocol/api/resources";

import { root } from "../../scripts/root.ts";
import { aRunningInstance, mustBecome, type RunningInstance } from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";

const text = readFileSync(join(root, "examples/shop/apply.yaml"), "utf8");

/** The names of all processes that wrote to the volume, in their order. */
async function writersOf(strata: RunningInstance): Promise<readonly string[]> {
  const [db] = await strata.readyProcesses("db", 1);
  const answer = await strata.mustCall("POST", `/v1/processes/${db?.id}/exec`, {
    command: ["/bin/cat", "/data/index.html"],
  });
  return ExecResult.parse(answer).stdout.trim().split("\n");
}

async function endOf(strata: RunningInstance, job: string): Promise<JobRun> {
  const run = JobRun.parse(await strata.mustCall("POST", `/v1/jobs/${job}/run`, {}));
  return mustBecome(`the run of ${job} has ended`, async () => {
    const path = `/v1/jobs/${job}/runs/${run.id}`;
    const found = JobRun.parse(await strata.mustCall("GET", path));
    return found.state === "running" ? undefined : found;
  });
}

suite("an application", (test) => {
  test("begins in its order, keeps its volume, and runs its jobs to their end", async () => {
    await using strata = await aRunningInstance();
    const applied = await fetch(`${strata.instance.url}/v1/apply`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${readFileSync(join(strata.instance.data, "admin-token"), "utf8").trim()}`,
      },
      body: text,
    });
    assert.is(applied.status, 200, await applied.text());
    await strata.readyProcesses("web", 2);
    await strata.readyProcesses("worker", 1);
    const events = await strata.events();
    const idOf = (type: string, alias: string): number =>
      events.find((one) => one.type === type && one.subject.startsWith(`${alias}-`))?.id ?? 0;
    assert.ok(idOf("process.ready", "db") > 0);
    assert.ok(idOf("process.placed", "web") > idOf("process.ready", "db"));

    const [first = ""] = await writersOf(strata);
    const [db] = await strata.readyProcesses("db", 1);
    assert.is(first, db?.id);
    await strata.mustCall("POST", "/v1/subscriptions/db/restart", {});
    const after = await mustBecome("another process has the volume", async () => {
      const writers = await writersOf(strata);
      return writers.length === 2 ? writers : undefined;
    });
    assert.is(after[0], first, "what the first wrote is still there");
    const volume = await strata.mustCall("GET", "/v1/volumes/shop-db");
    assert.equal(volume, { ...Object(volume), state: "bound", holder: after[1] });

    const good = await endOf(strata, "report");
    assert.equal([good.state, good.exit?.code, good.failures], ["succeeded", 0, 0]);
    const [process] = good.processes;
    const log = await strata.call("GET", `/v1/processes/${process?.id}/logs`);
    assert.match(log.text, `report by ${process?.id}`);

    // Fails once, and finds on its volume that it did.
    await strata.mustCall("PUT", "/v1/jobs/flaky", {
      cartridge: "shop-tools",
      command: ["/bin/sh", "-c", "[ -e /data/tried ] && exit 0; : >/data/tried; exit 3"],
      volumes: [{ name: "tries", path: "/data" }],
      retries: 1,
    });
    const flaky = await endOf(strata, "flaky");
    assert.equal([flaky.state, flaky.failures], ["succeeded", 1]);
    assert.equal(
      flaky.processes.map(({ exit }) => exit?.code),
      [3, 0],
    );
    const runs = listOf(JobRun).parse(await strata.mustCall("GET", "/v1/jobs/flaky/runs"));
    assert.is(runs.items.length, 1);

    await strata.mustCall("DELETE", "/v1/jobs/flaky");
    await mustBecome("the volume is gone", async () => {
      await strata.call("DELETE", "/v1/volumes/tries");
      return (await strata.call("GET", "/v1/volumes/tries")).status === 404 ? true : undefined;
    });
  });
});
