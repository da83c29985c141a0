import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import Database from "better-sqlite3";

import { aControllerProcess, type ControllerProcess } from "../support/controller-process.ts";
import { aFakeAgent, type FakeAgent } from "../support/fake-agent.ts";
import { pushImage } from "../support/push-image.ts";
import { assert, suite } from "../support/suite.ts";

async function prepare(controller: ControllerProcess, processes: number): Promise<void> {
  await pushImage(
    { url: controller.url, token: controller.adminToken() },
    { repository: "hello", tag: "1" },
  );
  const put = async (path: string, body: object): Promise<void> => {
    const answer = await controller.call("PUT", path, { body });
    assert.is(answer.status, 201, JSON.stringify(answer.body));
  };
  await put("/v1/partitions/web", {});
  await put("/v1/cartridges/hello", { image: "hello:1", partition: "web" });
  await put("/v1/subscriptions/hi", { cartridge: "hello", processes });
}

/** Works as an agent does until so many processes are ready: a bounded number of long polls, no sleeping. */
async function workUntilReady(
  controller: ControllerProcess,
  { agent, ready }: { readonly agent: FakeAgent; readonly ready: number },
): Promise<void> {
  for (let round = 0; round < 100; round += 1) {
    await agent.work();
    const { status } = (await controller.call("GET", "/v1/subscriptions/hi")).body;
    if (status.ready === ready && agent.told.size === ready && status.message === null) return;
  }
  throw new Error(
    `not ${ready} ready: ${JSON.stringify((await controller.call("GET", "/v1/subscriptions/hi")).body)}`,
  );
}

suite("the controller as a program", (test) => {
  test("takes an image through its store and brings processes to run, and wakes a waiting agent at once", async () => {
    await using controller = await aControllerProcess();
    await prepare(controller, 2);
    const agent = await aFakeAgent(controller);
    await workUntilReady(controller, { agent, ready: 2 });
    const { body } = await controller.call(
      "GET",
      `/v1/nodes/${agent.nodeId}/assignments?revision=0`,
      {
        token: agent.credential,
      },
    );
    const path = `/v1/nodes/${agent.nodeId}/assignments?revision=${body.revision}&wait=30s`;
    const waiting = controller.call("GET", path, { token: agent.credential });
    await controller.call("POST", "/v1/subscriptions/hi/scale", { body: { processes: 3 } });
    const woken = await waiting;
    assert.is(woken.status, 200);
    assert.is(woken.body.assignments.length, 3);
  });

  test("a node may pull from the store, and not push; without a token there is a challenge", async () => {
    await using controller = await aControllerProcess();
    await prepare(controller, 0);
    const agent = await aFakeAgent(controller);
    const as = async (method: string, path: string, token: string): Promise<number> =>
      (await controller.call(method, path, { token })).status;
    assert.is(await as("GET", "/v2/hello/manifests/1", agent.credential), 200);
    assert.is(await as("POST", "/v2/hello/blobs/uploads/", agent.credential), 403);
    assert.is(await as("GET", "/v2/hello/manifests/1", "nonsense"), 401);
  });

  test("kill -9 in the middle of a scale: it goes on after the restart", async () => {
    await using controller = await aControllerProcess();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    await workUntilReady(controller, { agent, ready: 1 });
    for (const count of [5, 2]) {
      const answer = await controller.call("POST", "/v1/subscriptions/hi/scale", {
        body: { processes: count },
      });
      assert.is(answer.status, 200);
      await controller.kill("SIGKILL");
      await controller.start();
      await workUntilReady(controller, { agent, ready: count });
    }
  });

  test("kill -9 at any moment: every acknowledged write is there afterwards", async () => {
    await using controller = await aControllerProcess();
    const acknowledged: string[] = [];
    for (let round = 0; round < 3; round += 1) {
      const writers = Array.from({ length: 4 }, async (_, writer) => {
        for (let index = 0; ; index += 1) {
          const name = `p-${round}-${writer}-${index}`;
          const answer = await controller
            .call("PUT", `/v1/partitions/${name}`, { body: {} })
            .catch(() => undefined);
          if (answer?.status !== 201) return;
          acknowledged.push(name);
          if (writer === 0 && index === 5 * (round + 1)) await controller.kill("SIGKILL");
        }
      });
      await Promise.all(writers);
      await controller.start();
    }
    const names = new Set<string>();
    for (let after: string | null = ""; after !== null;) {
      const answer = await controller.call("GET", `/v1/partitions?limit=1000&after=${after}`);
      for (const { name } of answer.body.items) names.add(name);
      after = answer.body.next;
    }
    assert.ok(acknowledged.length > 40);
    assert.equal(
      acknowledged.filter((name) => !names.has(name)),
      [],
    );
  });

  test("SIGTERM lets waiting agents and followers go and ends with status 0", async () => {
    await using controller = await aControllerProcess();
    await prepare(controller, 0);
    const agent = await aFakeAgent(controller);
    await agent.poll();
    const { body } = await controller.call("GET", `/v1/nodes/${agent.nodeId}/assignments`, {
      token: agent.credential,
    });
    const path = `/v1/nodes/${agent.nodeId}/assignments?revision=${body.revision}&wait=30s`;
    const waiting = controller.call("GET", path, { token: agent.credential });
    const following = controller.call("GET", "/v1/events", {
      headers: { accept: "text/event-stream" },
    });
    // Both are there once another request has been answered after them.
    await controller.call("GET", "/readyz");
    assert.is(await controller.kill("SIGTERM"), 0);
    assert.is((await waiting).status, 204);
    assert.is((await following).status, 200);
  });

  test("refuses a database of a later version and leaves it as it is", async () => {
    await using controller = await aControllerProcess();
    await controller.kill("SIGTERM");
    const database = new Database(join(controller.dataDirectory, "controller", "strata.db"));
    database
      .prepare("insert into __drizzle_migrations (hash, created_at) values ('later', ?)")
      .run(Date.parse("2099-01-01"));
    database.close();
    const error = await controller.start().then(
      () => undefined,
      (caught: unknown) => caught,
    );
    assert.match(
      String(error),
      /was written by Strata 0\.1\.0 \(migration \d+\); this is 0\.1\.0 .*\(DATABASE_NEWER\)/,
    );
    await controller.kill("SIGKILL");
  });

  test("the admin token is for root alone, survives a restart, and comes back when its file is lost", async () => {
    await using controller = await aControllerProcess();
    const file = join(controller.dataDirectory, "admin-token");
    assert.is(statSync(file).mode & 0o777, 0o600);
    const first = controller.adminToken();
    await controller.kill("SIGTERM");
    await controller.start();
    assert.is(controller.adminToken(), first);
    await controller.kill("SIGTERM");
    rmSync(file);
    await controller.start();
    assert.is.not(controller.adminToken(), first);
    assert.is((await controller.call("GET", "/v1/nodes")).status, 200);
    assert.is((await controller.call("GET", "/v1/nodes", { token: first })).status, 401);
    await controller.kill("SIGTERM");
    writeFileSync(file, "not a token\n");
    const error = await controller.start().then(
      () => undefined,
      (caught: unknown) => caught,
    );
    assert.match(String(error), /holds no token \(SETTING_INVALID\)/);
  });

  test("serves the agent with its digest, and nothing when the client has it", async () => {
    await using controller = await aControllerProcess({ environment: {} });
    const directory = join(controller.dataDirectory, "controller", "agent");
    await controller.kill("SIGTERM");
    mkdirSync(directory, { recursive: true });
    const file = join(directory, "strata-agent-linux-amd64");
    writeFileSync(file, "binary");
    await controller.start();
    const answer = await controller.call("GET", "/v1/agent/linux-amd64", { token: "" });
    assert.is(answer.body, "binary");
    const etag = answer.headers.get("etag") ?? "";
    assert.is(etag, `"sha256:${answer.headers.get("x-checksum-sha256")}"`);
    const again = await controller.call("GET", "/v1/agent/linux-amd64", {
      headers: { "if-none-match": etag },
    });
    assert.is(again.status, 304);
    assert.is((await controller.call("GET", "/v1/agent/linux-arm64")).body.code, "AGENT_NOT_BUILT");
  });
});
