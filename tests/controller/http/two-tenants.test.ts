/** Two tenants on one installation: what one of them has is nothing to the other, on every route there is. */
import type { RouteEntry } from "@strata/controller/http/route";
import type { Scope } from "@strata/protocol/access";

import { aController, type TestController } from "../../support/controller.ts";
import { type FakeAgent, aFakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";

/** Is in every name of the tenant `zebra`, and in nothing else. */
const MARK = "zebra";

type Scene = {
  readonly controller: TestController;
  readonly agent: FakeAgent;
  /** Ids and names of zebra's things, by the parameter of a path. */
  readonly things: Readonly<Record<string, string>>;
  readonly tokenOf: (scope: Scope, tenant: string) => Promise<string>;
};

/** `zebra` has one of everything, and it runs. */
async function aScene(): Promise<Scene> {
  const controller = await aController();
  const { call } = controller;
  await prepare(controller, 1);
  for (const tenant of [MARK, "horse"])
    await call("PUT", `/v1/tenants/${tenant}`, { body: { quota: { storage: "1Gi", cpu: 100 } } });
  const tokenOf: Scene["tokenOf"] = async (scope, tenant) =>
    (await call("POST", "/v1/tokens", { body: { name: `${tenant}-${scope}`, scope, tenant } })).body
      .token;
  const token = await tokenOf("deployer", MARK);
  const make = async (path: string, body: object): Promise<void> => {
    const answer = await call("PUT", path, { token, body });
    assert.ok(answer.status < 300, `${path}: ${JSON.stringify(answer.body)}`);
  };
  await make(`/v1/secrets/${MARK}-key`, { text: "stripes" });
  await make(`/v1/cartridges/${MARK}-app`, { image: "hello:1", partition: "web" });
  await make(`/v1/subscriptions/${MARK}-web`, {
    cartridge: `${MARK}-app`,
    secretEnv: { KEY: `${MARK}-key` },
  });
  const agent = await aFakeAgent(controller);
  controller.settle();
  await agent.work();
  controller.settle();
  const processes = (await call("GET", "/v1/processes", { token })).body.items;
  const { items } = (await call("GET", "/v1/tokens")).body;
  const things = {
    alias: `${MARK}-web`,
    process: processes[0].id,
    token: items.find(({ tenant }: { tenant: string }) => tenant === MARK).id,
    secret: `${MARK}-key`,
    cartridge: `${MARK}-app`,
    tenant: MARK,
  };
  return { controller, agent, things, tokenOf };
}

/** The same path with the name of a thing of zebra's; undefined where the things have no tenant. */
function aimed({ path }: RouteEntry, things: Scene["things"]): string | undefined {
  const owned: readonly (readonly [RegExp, string])[] = [
    [/^\/v1\/subscriptions\/\{alias\}/, "alias"],
    [/^\/v1\/processes\/\{id\}/, "process"],
    [/^\/v1\/tokens\/\{id\}/, "token"],
    [/^\/v1\/secrets\/\{name\}/, "secret"],
    [/^\/v1\/cartridges\/\{name\}/, "cartridge"],
    [/^\/v1\/tenants\/\{name\}/, "tenant"],
    [/^\/v1\/(jobs|volumes)\/\{name\}/, "alias"],
    [/^\/v1\/store-quotas\/\{name\}/, "tenant"],
  ];
  const kind = owned.find(([pattern]) => pattern.test(path))?.[1];
  return kind === undefined ? undefined : path.replace(/\{\w+\}/, things[kind] ?? "");
}

/** What a request of the right shape needs beside its path. */
function bodyOf(method: string, path: string): { readonly body?: string } {
  if (method !== "put" && method !== "post") return {};
  if (path.endsWith("/exec")) return { body: JSON.stringify({ command: ["id"] }) };
  if (path.endsWith("/scale")) return { body: JSON.stringify({ processes: 0 }) };
  if (path.endsWith("/metrics")) return { body: JSON.stringify({ values: { any: 1 } }) };
  return { body: "{}" };
}

const queryOf = (path: string): string => (path.endsWith("/files") ? "?path=/etc" : "");

suite("two tenants", (test) => {
  test("cannot reach each other's things, by whatever route and scope", async () => {
    await using disposer = new AsyncDisposableStack();
    const { controller, things, tokenOf } = await aScene();
    disposer.use(controller);
    let walked = 0;
    for (const scope of ["viewer", "deployer", "operator"] as const) {
      const token = await tokenOf(scope, "horse");
      for (const route of controller.routes) {
        const path = aimed(route, things);
        if (path === undefined || route.access === "admin" || route.access === "public") continue;
        const isMine = route.method === "put" && !path.endsWith("/files");
        // A PUT of a name makes a thing of one's own, as if nobody had it.
        if (isMine || (scope === "operator" && path.startsWith("/v1/store-quotas"))) continue;
        const what = `${scope}: ${route.method} ${path}`;
        const ask = async (target: string): Promise<{ status: number; body: string }> => {
          const answer = await controller.call(route.method.toUpperCase(), target, {
            token,
            ...bodyOf(route.method, path),
          });
          return { status: answer.status, body: JSON.stringify(answer.body) };
        };
        const theirs = await ask(path + queryOf(path));
        const nobodys = await ask(
          Object.values(things).reduce((text, name) => text.replace(name, "nothing"), path) +
            queryOf(path),
        );
        assert.ok([403, 404, 422].includes(theirs.status), `${what}: ${theirs.status}`);
        assert.is(theirs.status, nobodys.status, `${what} tells it from what is not there`);
        walked += 1;
        const asked = await ask(`${path}?tenant=${MARK}`);
        assert.ok(asked.status >= 400, `${what} with ?tenant=`);
      }
    }
    assert.ok(walked > 40, String(walked));
    assert.is(
      (await controller.call("GET", `/v1/subscriptions/${MARK}-web?tenant=${MARK}`)).body.status
        .ready,
      1,
    );
  });

  test("do not see each other in any list, event, metric or reason", async () => {
    await using disposer = new AsyncDisposableStack();
    const { controller, agent, tokenOf } = await aScene();
    disposer.use(controller);
    const values: Readonly<Record<string, string>> = { id: agent.nodeId, alias: "hi", name: "web" };
    const seen = { horse: 0, [MARK]: 0 };
    for (const [scope, tenant] of [
      ["viewer", "horse"],
      ["deployer", "horse"],
      ["operator", MARK],
    ] as const) {
      const token = await tokenOf(scope, tenant);
      for (const { method, path, access } of controller.routes) {
        if (method !== "get" || access === "node") continue;
        const target = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => values[name] ?? "web");
        const { body } = await controller.call("GET", target, { token });
        if (!JSON.stringify(body).includes(MARK)) continue;
        seen[tenant] = (seen[tenant] ?? 0) + 1;
        assert.is(tenant, MARK, `${scope}: ${target}`);
      }
    }
    assert.is(seen.horse, 0);
    assert.ok((seen[MARK] ?? 0) > 5, "its own tokens see what it has");
  });

  test("make things of the same name, each its own; names of cartridges are taken", async () => {
    await using disposer = new AsyncDisposableStack();
    const { controller, tokenOf } = await aScene();
    disposer.use(controller);
    const token = await tokenOf("deployer", "horse");
    const put = (path: string, body: object): ReturnType<TestController["call"]> =>
      controller.call("PUT", path, { token, body });
    assert.is((await put(`/v1/subscriptions/${MARK}-web`, { cartridge: "hello" })).status, 201);
    assert.is((await put(`/v1/secrets/${MARK}-key`, { text: "mine" })).status, 201);
    const foreign = await put("/v1/subscriptions/mine", { cartridge: `${MARK}-app` });
    assert.is(foreign.body.code, "REFERENCE_UNKNOWN");
    const image = { image: "hello:1", partition: "web" };
    assert.is((await put(`/v1/cartridges/${MARK}-app`, image)).body.code, "NAME_TAKEN");
    assert.is((await put("/v1/cartridges/hello", image)).body.code, "FORBIDDEN");
    const shared = await controller.call("DELETE", "/v1/cartridges/hello", { token });
    assert.is(shared.status, 403);
  });

  test("cannot name images of each other's repositories", async () => {
    await using controller = await aController();
    await prepare(controller);
    // The repository `hello` is from now on that of a tenant.
    await controller.call("PUT", "/v1/tenants/hello", { body: {} });
    await controller.call("PUT", "/v1/tenants/horse", { body: {} });
    const answers = [];
    for (const tenant of ["horse", "hello"]) {
      const { body } = await controller.call("POST", "/v1/tokens", {
        body: { name: tenant, scope: "deployer", tenant },
      });
      answers.push(
        await controller.call("PUT", `/v1/cartridges/of-${tenant}`, {
          token: body.token,
          body: { image: "hello:1", partition: "web" },
        }),
      );
    }
    assert.equal(
      answers.map(({ status, body }) => [status, body.code]),
      [
        [422, "IMAGE_NOT_FOUND"],
        [201, undefined],
      ],
    );
  });
});
