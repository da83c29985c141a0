import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { secretVersions } from "@strata/controller/store/schema";
import { listSecretsOfTenant } from "@strata/controller/store/secrets";

import { aController, type Answer, type TestController } from "../../support/controller.ts";
import { aFakeAgent, type FakeAgent } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";

const VALUE = "correct horse battery staple";
const HOST = { volumes: [{ hostPath: "/etc", path: "/host" }] };

/** A controller with a node, a cartridge and a subscription of it that has the secret as a file and as a variable. */
async function aScene(): Promise<TestController & { readonly node: FakeAgent }> {
  const controller = await aController();
  const { call } = controller;
  await call("PUT", "/v1/partitions/local", { body: {} });
  await call("PUT", "/v1/cartridges/hello", { body: { image: "hello:1", partition: "local" } });
  return Object.assign(controller, { node: await aFakeAgent(controller, { partition: "local" }) });
}

function put(
  { call }: TestController,
  value: object = { text: VALUE },
  options = {},
): Promise<Answer> {
  return call("PUT", "/v1/secrets/db", { body: value, ...options });
}

function subscribe({ call }: TestController, fields: object = {}): Promise<Answer> {
  return call("PUT", "/v1/subscriptions/shop", {
    body: {
      cartridge: "hello",
      files: [{ path: "/run/secrets/db", secret: "db" }],
      secretEnv: { DB_PASSWORD: "db" },
      ...fields,
    },
  });
}

function fetchValue(
  { call }: TestController,
  node: FakeAgent,
  path = "db/1?tenant=default",
): Promise<Answer> {
  return call("GET", `/v1/nodes/${node.nodeId}/secrets/${path}`, { token: node.credential });
}

suite("secrets", (test) => {
  test("are shown to nobody, and nothing that is kept or told holds a value", async () => {
    await using scene = await aScene();
    const { call, services } = scene;
    assert.is((await put(scene)).status, 201);
    await subscribe(scene);
    await put(scene, { text: `${VALUE}, again` });
    scene.settle();
    const paths = [
      "/v1/secrets",
      "/v1/secrets/db",
      "/v1/events",
      "/v1/subscriptions/shop",
      "/metrics",
    ];
    const answers = await Promise.all(paths.map((path) => call("GET", path)));
    assert.not.match(JSON.stringify(answers.map(({ body }) => body)), /battery/);
    assert.equal(answers[1]?.body.version, 2);
    assert.not.match(
      JSON.stringify(services.store.sql.select().from(secretVersions).all()),
      /battery/,
    );
    const key = join(services.config.dataDirectory, "controller", "secrets.key");
    assert.is(statSync(key).mode & 0o777, 0o600);
  });

  test("go to a node that has a process which needs them, and to no other", async () => {
    await using scene = await aScene();
    const stranger = await aFakeAgent(scene, { partition: "local", name: "node-b" });
    await put(scene);
    assert.is((await fetchValue(scene, scene.node)).status, 404, "no process needs it yet");
    await subscribe(scene);
    scene.settle();
    const nodes = [scene.node, stranger];
    const answers = await Promise.all(nodes.map((node) => fetchValue(scene, node)));
    assert.equal(
      answers.map(({ status }) => status).toSorted((a, b) => a - b),
      [200, 404],
    );
    const granted = answers.find(({ status }) => status === 200);
    assert.is(Buffer.from(granted?.body.base64, "base64").toString(), VALUE);
    assert.is(granted?.headers.get("cache-control"), "no-store");
    const holder = nodes[answers.indexOf(granted ?? fail())] ?? fail();
    for (const path of ["db/2?tenant=default", "db/1?tenant=other", "other/1?tenant=default"]) {
      assert.is((await fetchValue(scene, holder, path)).status, 404);
    }
    const byAdmin = await scene.call(
      "GET",
      `/v1/nodes/${holder.nodeId}/secrets/db/1?tenant=default`,
    );
    assert.is(byAdmin.status, 403);
  });

  test("roll what uses them when they change, and only then", async () => {
    await using scene = await aScene();
    await put(scene);
    const { body: before } = await subscribe(scene);
    const { status, body } = await put(scene);
    assert.is(status, 200);
    assert.is(body.version, 1, "the value that it has already");
    await put(scene, { base64: Buffer.from("new").toString("base64") });
    const { body: after } = await scene.call("GET", "/v1/subscriptions/shop");
    assert.is(after.generation, before.generation + 1);
    assert.is(after.revision, before.revision, "nobody changed the subscription");
  });

  test("are forgotten, version by version, when no generation refers to them", async () => {
    await using scene = await aScene();
    await put(scene);
    await subscribe(scene);
    for (let version = 2; version <= 14; version += 1) await put(scene, { text: `v${version}` });
    const versions = (): readonly number[] =>
      scene.services.store.sql
        .select()
        .from(secretVersions)
        .all()
        .map(({ version }) => version);
    assert.is(versions().length, 11, "ten generations are kept beside the newest");
    await scene.call("DELETE", "/v1/subscriptions/shop");
    scene.settle();
    assert.equal(versions(), [14]);
  });

  test("cannot be deleted while they are used", async () => {
    await using scene = await aScene();
    await put(scene);
    await subscribe(scene);
    const refused = await scene.call("DELETE", "/v1/secrets/db");
    assert.is(refused.status, 409);
    assert.is(refused.body.code, "IN_USE");
    await scene.call("PUT", "/v1/subscriptions/shop", {
      body: { cartridge: "hello", processes: 0 },
    });
    scene.settle();
    assert.is((await scene.call("DELETE", "/v1/secrets/db")).status, 204);
    assert.equal(
      listSecretsOfTenant(scene.services.store.sql, "default", { after: "", limit: 9 }),
      [],
    );
  });

  test("that come back after they were deleted have another version than before", async () => {
    await using scene = await aScene();
    await put(scene);
    await subscribe(scene);
    const nothing = { cartridge: "hello", processes: 0 };
    await scene.call("PUT", "/v1/subscriptions/shop", { body: nothing });
    scene.settle();
    await scene.call("DELETE", "/v1/secrets/db");
    assert.is((await put(scene)).body.version, 2);
  });

  test("that do not exist are named by whoever refers to them", async () => {
    await using scene = await aScene();
    const { status, body } = await subscribe(scene);
    assert.is(status, 422);
    assert.is(body.code, "REFERENCE_UNKNOWN");
    assert.match(body.hint, /\/v1\/secrets\/db/);
  });

  test("belong to their tenant, and need a deployer", async () => {
    await using scene = await aScene();
    const { call } = scene;
    await put(scene);
    const tokenOf = async (scope: string, tenant: string): Promise<string> =>
      (await call("POST", "/v1/tokens", { body: { name: `${scope}-${tenant}`, scope, tenant } }))
        .body.token;
    await call("PUT", "/v1/tenants/other", { body: {} });
    const other = await tokenOf("deployer", "other");
    const viewer = await tokenOf("viewer", "default");
    assert.is((await call("GET", "/v1/secrets/db", { token: other })).status, 404);
    assert.is((await call("GET", "/v1/secrets/db?tenant=default", { token: other })).status, 403);
    assert.is((await put(scene, { text: "x" }, { token: viewer })).status, 403);
    assert.is((await call("GET", "/v1/secrets", { token: viewer })).status, 403);
  });

  test("whose key is lost say so, and can be set again", async () => {
    await using scene = await aScene();
    await put(scene);
    await subscribe(scene);
    scene.settle();
    const key = join(scene.services.config.dataDirectory, "controller", "secrets.key");
    const kept = readFileSync(key);
    rmSync(key);
    const { status, body } = await fetchValue(scene, scene.node);
    assert.is(status, 500);
    assert.is(body.code, "SECRET_KEY_LOST");
    assert.match(body.hint, /backup/);
    writeFileSync(key, kept);
    assert.is((await fetchValue(scene, scene.node)).status, 200);
    rmSync(key);
    assert.is((await put(scene)).body.version, 2);
    scene.settle();
    assert.is((await fetchValue(scene, scene.node, "db/2?tenant=default")).status, 200);
  });

  test("of a wrong size or shape are refused, and a stale revision is", async () => {
    await using scene = await aScene();
    for (const body of [
      {},
      { text: "" },
      { text: "x".repeat(65 * 1024) },
      { base64: "?" },
      { text: "a", base64: "YQ==" },
    ]) {
      assert.is((await put(scene, body)).status, 422);
    }
    await put(scene);
    const stale = await put(scene, { text: "new" }, { headers: { "if-match": '"7"' } });
    assert.is(stale.status, 412);
  });
});

suite("a folder of the node in a container", (test) => {
  test("is an admin's wish alone, however it is asked for", async () => {
    await using scene = await aScene();
    const { call } = scene;
    const { body } = await call("POST", "/v1/tokens", { body: { name: "op", scope: "operator" } });
    const token: string = body.token;
    const cartridge = { image: "hello:1", partition: "local", ...HOST };
    const subscription = { cartridge: "hello", ...HOST };
    const asked: readonly [string, string, unknown][] = [
      ["PUT", "/v1/cartridges/other", cartridge],
      ["PUT", "/v1/subscriptions/shop", subscription],
      ["POST", "/v1/apply", JSON.stringify({ kind: "Cartridge", name: "other", ...cartridge })],
      [
        "POST",
        "/v1/apply",
        JSON.stringify({ kind: "Subscription", name: "shop", ...subscription }),
      ],
    ];
    for (const [method, path, wish] of asked) {
      const refused = await call(method, path, { body: wish, token });
      assert.is(refused.status, 403, `${method} ${path}`);
      assert.is(refused.body.code, "FORBIDDEN");
    }
    for (const [method, path, wish] of asked) {
      assert.ok((await call(method, path, { body: wish })).status < 300, `${method} ${path}`);
    }
    // Whoever chooses the command of such a cartridge would have the folder.
    const command = { cartridge: "other", command: ["cat", "/host/shadow"] };
    assert.is((await call("PUT", "/v1/subscriptions/mine", { body: command, token })).status, 403);
  });

  test("and what else is mounted have paths that a container can spare", async () => {
    await using scene = await aScene();
    for (const path of ["/", "/proc", "/dev/shm", "/a/../b", "relative", "/a/"]) {
      const { status } = await subscribe(scene, { files: [], volumes: [{ name: "data", path }] });
      assert.is(status, 422, path);
    }
    const twice = [
      { name: "a", path: "/data" },
      { tmpfs: "1Mi", path: "/data" },
    ];
    assert.is((await subscribe(scene, { volumes: twice })).status, 422);
  });

  test("texts of files fit into the assignments of a node", async () => {
    await using scene = await aScene();
    const files = [1, 2].map((n) => ({ path: `/etc/${n}`, text: "x".repeat(40 * 1024) }));
    assert.is((await subscribe(scene, { files, secretEnv: {} })).status, 422);
    assert.is((await subscribe(scene, { files: files.slice(1), secretEnv: {} })).status, 201);
  });

  test("texts of files are in no event and in no diff", async () => {
    await using scene = await aScene();
    await put(scene);
    await subscribe(scene);
    const document = {
      kind: "Subscription",
      name: "shop",
      cartridge: "hello",
      files: [{ path: "/etc/app", text: VALUE }],
    };
    const { body } = await scene.call("POST", "/v1/apply?dryRun=true", {
      body: JSON.stringify(document),
    });
    assert.not.match(JSON.stringify(body), /battery/);
    assert.ok(body.results[0].changes.includes("files changed"));
  });
});

function fail(): never {
  throw new Error("nobody was given the value");
}
