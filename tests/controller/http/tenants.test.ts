import { tokens } from "@strata/controller/store/schema-access";

import { aController, type Answer, type TestController } from "../../support/controller.ts";
import { aFakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";

const MIB = 1024 ** 2;
const small = { memory: "64Mi", cpu: 0.5, pids: 50 };

/** A controller with the tenant `acme`, its quota, and a deployer of it. */
async function aScene(
  quota: object = {},
): Promise<TestController & { readonly asAcme: TestController["call"] }> {
  const controller = await aController();
  await prepare(controller);
  await controller.call("PUT", "/v1/tenants/acme", { body: { quota } });
  const { body } = await controller.call("POST", "/v1/tokens", {
    body: { name: "acme-ci", scope: "deployer", tenant: "acme" },
  });
  return Object.assign(controller, {
    asAcme: (method: string, path: string, options: object = {}) =>
      controller.call(method, path, { token: body.token, ...options }),
  });
}

function subscribe(
  { asAcme }: Pick<Awaited<ReturnType<typeof aScene>>, "asAcme">,
  processes: number,
  alias = "web",
): Promise<Answer> {
  const body = { cartridge: "hello", processes, resources: small };
  return asAcme("PUT", `/v1/subscriptions/${alias}`, { body });
}

suite("tenants", (test) => {
  test("are made, shown with their use, and deleted when they own nothing", async () => {
    await using scene = await aScene({ processes: 4, cpu: 2, memory: "1Gi", storage: "2Gi" });
    await subscribe(scene, 3);
    const { body } = await scene.call("GET", "/v1/tenants/acme");
    assert.equal(body.quota, { processes: 4, cpu: 2, memory: 1024 * MIB, storage: 2048 * MIB });
    assert.equal(body.status, { processes: 3, cpu: 1.5, memory: 192 * MIB, storage: 0 });
    const refused = await scene.call("DELETE", "/v1/tenants/acme");
    assert.equal([refused.status, refused.body.code], [409, "IN_USE"]);
    assert.match(refused.body.detail, /subscription web, token acme-ci/);
    await scene.call("DELETE", "/v1/subscriptions/web?tenant=acme");
    scene.settle();
    for (const { id, tenant } of (await scene.call("GET", "/v1/tokens")).body.items)
      if (tenant === "acme") await scene.call("DELETE", `/v1/tokens/${id}`);
    assert.is((await scene.call("DELETE", "/v1/tenants/acme")).status, 204);
    assert.is((await scene.call("GET", "/v1/tenants/acme")).status, 404);
    assert.is((await scene.call("GET", "/v1/store-quotas/acme")).status, 404, "went with it");
  });

  test("`default` is there from the beginning and stays", async () => {
    await using controller = await aController();
    const { body } = await controller.call("GET", "/v1/tenants");
    assert.equal(
      body.items.map(({ name }: { name: string }) => name),
      ["default"],
    );
    assert.is((await controller.call("DELETE", "/v1/tenants/default")).body.code, "IN_USE");
    const storage = await controller.call("PUT", "/v1/tenants/default", {
      body: { quota: { storage: "1Gi" } },
    });
    assert.is(storage.status, 422);
  });

  test("that nobody made are no tenants: of tokens, subscriptions, secrets and documents", async () => {
    await using scene = await aScene();
    const { call } = scene;
    const answers = [
      await call("POST", "/v1/tokens", { body: { name: "x", scope: "viewer", tenant: "typo" } }),
      await call("PUT", "/v1/subscriptions/x?tenant=typo", { body: { cartridge: "hello" } }),
      await call("PUT", "/v1/secrets/x?tenant=typo", { body: { text: "x" } }),
      await call("POST", "/v1/apply?tenant=typo", {
        body: { kind: "Subscription", name: "x", cartridge: "hello" },
      }),
    ];
    for (const { status, body } of answers)
      assert.equal([status, body.code], [422, "REFERENCE_UNKNOWN"]);
    assert.match(answers[0]?.body.hint, /PUT \/v1\/tenants\/typo/);
  });

  test("of a database from before they were resources have a row after the start", async () => {
    await using controller = await aController();
    const { store } = controller.services;
    const [admin] = store.sql.select().from(tokens).all();
    assert.ok(admin);
    const old = { ...admin, id: "token-old", name: "old", tenant: "from-before" };
    store.sql.insert(tokens).values(old).run();
    const { ensureTenants } = await import("@strata/controller/operations/tenants");
    ensureTenants(store);
    assert.is((await controller.call("GET", "/v1/tenants/from-before")).status, 200);
  });

  test("see themselves alone", async () => {
    await using scene = await aScene();
    const { body } = await scene.asAcme("GET", "/v1/tenants");
    assert.equal(
      body.items.map(({ name }: { name: string }) => name),
      ["acme"],
    );
    assert.is((await scene.asAcme("GET", "/v1/tenants/acme")).status, 200);
    assert.is((await scene.asAcme("GET", "/v1/tenants/default")).status, 404);
    assert.is((await scene.asAcme("PUT", "/v1/tenants/acme", { body: {} })).status, 403);
  });
});

suite("quotas of a tenant", (test) => {
  for (const [name, quota, reason] of [
    ["processes", { processes: 2 }, /processes 3 of 2/],
    ["cpu", { cpu: 1 }, /cpu 1\.5 of 1/],
    ["memory", { memory: "128Mi" }, /memory 192MiB of 128MiB/],
  ] as const) {
    test(`refuse a wish for more ${name} with the numbers, and change nothing then`, async () => {
      await using scene = await aScene(quota);
      assert.is((await subscribe(scene, 2)).status, 201);
      const refused = await subscribe(scene, 3);
      assert.equal([refused.status, refused.body.code], [409, "QUOTA_EXCEEDED"]);
      assert.match(refused.body.detail, reason);
      assert.match(refused.body.hint, /PUT \/v1\/tenants\/acme/);
      const scale = { body: { processes: 3 } };
      const scaled = await scene.asAcme("POST", "/v1/subscriptions/web/scale", scale);
      assert.is(scaled.body.code, "QUOTA_EXCEEDED");
      assert.is((await scene.asAcme("GET", "/v1/subscriptions/web")).body.processes, 2);
      assert.is((await scene.call("GET", "/v1/tenants/acme")).body.status.processes, 2);
    });
  }

  test("look at all documents of an apply together, so that one may grow by what another gives", async () => {
    await using scene = await aScene({ processes: 3 });
    await subscribe(scene, 3, "a");
    const apply = (a: number, b: number): Promise<Answer> => {
      const document = { kind: "Subscription", cartridge: "hello", resources: small };
      const body = [
        { ...document, name: "b", processes: b },
        { ...document, name: "a", processes: a },
      ];
      return scene.asAcme("POST", "/v1/apply", { body });
    };
    assert.is((await apply(1, 3)).body.code, "QUOTA_EXCEEDED");
    assert.is((await apply(1, 2)).status, 200);
  });

  test("that were lowered below the use stop growth, not shrinking and changing", async () => {
    await using scene = await aScene();
    await subscribe(scene, 4);
    await scene.call("PUT", "/v1/tenants/acme", { body: { quota: { processes: 2 } } });
    assert.is((await subscribe(scene, 3)).status, 200);
    const env = { cartridge: "hello", resources: small, env: { A: "1" } };
    assert.is((await scene.asAcme("PUT", "/v1/subscriptions/web", { body: env })).status, 200);
    assert.is((await subscribe(scene, 4)).body.code, "QUOTA_EXCEEDED");
  });

  test("keep processes from being placed, with the reason, until there is room", async () => {
    await using scene = await aScene();
    const agent = await aFakeAgent(scene);
    await subscribe(scene, 4);
    await scene.call("PUT", "/v1/tenants/acme", { body: { quota: { processes: 3 } } });
    scene.settle();
    const states = async (): Promise<readonly (string | undefined)[]> =>
      (await scene.asAcme("GET", "/v1/processes")).body.items.map(
        ({ reason }: { reason: { code: string } | null }) => reason?.code,
      );
    assert.equal((await states()).filter((code) => code === "QUOTA_EXCEEDED").length, 1);
    await agent.poll();
    assert.is(agent.told.size, 3);
    await scene.call("PUT", "/v1/tenants/acme", { body: { quota: { processes: 4 } } });
    scene.settle();
    await agent.poll();
    assert.is(agent.told.size, 4);
    assert.equal(new Set(await states()), new Set([undefined]));
  });

  test("let a tenant at its limit roll out: what replaces counts for nothing", async () => {
    await using scene = await aScene({ processes: 2 });
    const agent = await aFakeAgent(scene);
    await subscribe(scene, 2);
    const turn = async (): Promise<void> => {
      scene.settle();
      await agent.work();
      scene.advance(1000);
    };
    await turn();
    await turn();
    const { body } = await scene.asAcme("PUT", "/v1/subscriptions/web", {
      body: { cartridge: "hello", processes: 2, resources: small, env: { NEW: "1" } },
    });
    for (let turns = 0; turns < 60; turns += 1) await turn();
    const processes = (await scene.asAcme("GET", "/v1/processes")).body.items.filter(
      ({ state }: { state: string }) => state === "running",
    );
    assert.equal(
      processes.map(({ generation }: { generation: number }) => generation),
      [body.generation, body.generation],
    );
  });

  test("keep runs of jobs waiting, too", async () => {
    await using scene = await aScene();
    const agent = await aFakeAgent(scene);
    await subscribe(scene, 1);
    scene.settle();
    await scene.asAcme("PUT", "/v1/jobs/import", { body: { cartridge: "hello" } });
    assert.is((await scene.asAcme("POST", "/v1/jobs/import/run", { body: {} })).status, 201);
    await scene.call("PUT", "/v1/tenants/acme", { body: { quota: { processes: 1 } } });
    await scene.asAcme("PUT", "/v1/jobs/other", { body: { cartridge: "hello" } });
    const more = await scene.asAcme("POST", "/v1/jobs/other/run", { body: {} });
    assert.is(more.body.code, "QUOTA_EXCEEDED");
    scene.settle();
    await agent.poll();
    assert.is(agent.told.size, 1);
    const { items } = (await scene.asAcme("GET", "/v1/processes")).body;
    assert.ok(
      items.some(({ reason }: Answer["body"]) => reason?.code === "QUOTA_EXCEEDED"),
      JSON.stringify(items),
    );
  });

  test("of storage are the store's quota of the tenant's name", async () => {
    await using scene = await aScene({ storage: "1Gi" });
    assert.is((await scene.call("GET", "/v1/store-quotas/acme")).body.bytes, 1024 * MIB);
    await scene.call("PUT", "/v1/store-quotas/acme", { body: { bytes: "2Gi" } });
    assert.is((await scene.call("GET", "/v1/tenants/acme")).body.quota.storage, 2048 * MIB);
    await scene.call("PUT", "/v1/tenants/acme", { body: {} });
    assert.is((await scene.call("GET", "/v1/store-quotas/acme")).status, 404);
  });
});
