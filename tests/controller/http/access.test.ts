import { type Scope, scopeIncludes, scopes } from "@strata/protocol/access";

import { aController, type TestController } from "../../support/controller.ts";
import { aFakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";

async function aToken(
  controller: TestController,
  scope: Scope,
  tenant = "default",
): Promise<string> {
  if (tenant !== "default") await controller.call("PUT", `/v1/tenants/${tenant}`, { body: {} });
  const body = { name: `${scope}-${tenant}`, scope, tenant };
  const answer = await controller.call("POST", "/v1/tokens", { body });
  assert.is(answer.status, 201);
  return answer.body.token;
}

/** What a request to the route looks like; whether it is any good does not matter here. */
const concrete = (path: string): string =>
  path.replace("{platform}", "linux-amd64").replaceAll(/\{\w+\}/g, "thing");

suite("access", (test) => {
  test("every route is open to exactly the tokens that its scope says", async () => {
    await using controller = await aController();
    const tokens = new Map<Scope, string>();
    for (const scope of scopes)
      if (scope !== "agent") tokens.set(scope, await aToken(controller, scope));
    await prepare(controller);
    tokens.set("agent", (await aFakeAgent(controller)).credential);
    assert.ok(controller.routes.length > 40);
    for (const { method, path, access } of controller.routes) {
      const send = async (token: string): Promise<{ status: number; code: string }> => {
        const answer = await controller.call(method.toUpperCase(), concrete(path), {
          token,
          ...(method === "put" || method === "post" ? { body: "{}" } : {}),
        });
        return { status: answer.status, code: answer.body.code };
      };
      const what = `${method} ${path}`;
      if (access === "public") {
        assert.is.not((await send("")).code, "UNAUTHENTICATED", what);
        continue;
      }
      for (const bad of [
        "",
        "nonsense",
        "strata_token-zzz_0000000000000000000000000000",
        `${tokens.get("admin")}x`,
      ])
        assert.equal(await send(bad), { status: 401, code: "UNAUTHENTICATED" }, what);
      for (const [scope, token] of tokens) {
        const allowed = access !== "node" && scopeIncludes(scope, access);
        const answer = await send(token);
        if (allowed) assert.not.ok([401, 403].includes(answer.status), `${scope}: ${what}`);
        else assert.equal(answer, { status: 403, code: "FORBIDDEN" }, `${scope}: ${what}`);
      }
    }
  });

  test("a 401 says how to authenticate", async () => {
    await using controller = await aController();
    const answer = await controller.call("GET", "/v1/nodes", { token: "" });
    assert.match(answer.headers.get("www-authenticate") ?? "", /^Bearer/);
  });

  test("Basic carries a token as its password", async () => {
    await using controller = await aController();
    const basic = Buffer.from(`anyone:${controller.adminToken}`).toString("base64");
    const answer = await controller.request("/v1/nodes", {
      headers: { authorization: `Basic ${basic}` },
    });
    assert.is(answer.status, 200);
  });

  test("a tenant sees and changes its own subscriptions only; an admin reaches every tenant", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    controller.settle();
    const other = await aToken(controller, "deployer", "other");
    const as = (method: string, path: string, body?: unknown): ReturnType<TestController["call"]> =>
      controller.call(method, path, { token: other, ...(body === undefined ? {} : { body }) });
    assert.is((await as("GET", "/v1/subscriptions/hi")).status, 404);
    assert.is((await as("GET", "/v1/subscriptions/hi?tenant=default")).status, 403);
    assert.is((await as("GET", "/v1/processes?tenant=*")).status, 403);
    const { body } = await controller.call("GET", "/v1/processes");
    assert.is((await as("GET", `/v1/processes/${body.items[0].id}`)).status, 404);
    assert.is(
      (await as("POST", `/v1/processes/${body.items[0].id}/exec`, { command: ["id"] })).status,
      404,
    );
    assert.is(
      (await as("PUT", "/v1/subscriptions/hi", { cartridge: "hello" })).status,
      201,
      "aliases are the tenant's",
    );
    controller.settle();
    assert.is((await as("GET", "/v1/processes")).body.items.length, 1);
    assert.is((await controller.call("GET", "/v1/processes?tenant=*")).body.items.length, 2);
    assert.is(
      (await controller.call("GET", "/v1/subscriptions/hi?tenant=other")).body.tenant,
      "other",
    );
    const events = (await as("GET", "/v1/events?limit=1000")).body.items;
    assert.ok(
      events.every(
        ({ tenant }: { tenant: string | null }) => tenant === null || tenant === "other",
      ),
    );
  });

  test("a token ends when it expires and when it is revoked; its secret is shown once and stored nowhere", async () => {
    await using controller = await aController();
    const answer = await controller.call("POST", "/v1/tokens", {
      body: { name: "ci", scope: "viewer", expiresIn: "1h" },
    });
    const { token, id } = answer.body;
    const secret = String(token).split("_")[2] ?? "?";
    assert.is((await controller.call("GET", "/v1/nodes", { token })).status, 200);
    controller.advance(3_600_000);
    assert.is((await controller.call("GET", "/v1/nodes", { token })).status, 401);
    const list = await controller.call("GET", "/v1/tokens");
    assert.not.ok(JSON.stringify(list.body).includes(secret));
    assert.not.ok(
      JSON.stringify((await controller.call("GET", "/v1/events")).body).includes(secret),
    );
    assert.is(
      (await controller.call("POST", "/v1/tokens", { body: { name: "ci", scope: "viewer" } }))
        .status,
      409,
    );
    assert.is((await controller.call("DELETE", `/v1/tokens/${id}`)).status, 204);
    const again = await controller.call("POST", "/v1/tokens", {
      body: { name: "ci", scope: "viewer" },
    });
    await controller.call("DELETE", `/v1/tokens/${again.body.id}`);
    assert.is((await controller.call("GET", "/v1/nodes", { token: again.body.token })).status, 401);
  });
});

suite("GET /openapi.json", (test) => {
  test("has every route, with its scope, and resolves all that it refers to", async () => {
    await using controller = await aController();
    const { body, status } = await controller.call("GET", "/openapi.json", { token: "" });
    assert.is(status, 200);
    assert.match(body.openapi, /^3\.1/);
    for (const { method, path, access } of controller.routes) {
      const operation = body.paths[path]?.[method];
      assert.ok(operation, `${method} ${path} is missing`);
      assert.equal(operation.security, access === "public" ? [] : [{ bearer: [] }]);
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const described = (operation.parameters ?? [])
        .filter((parameter: { in: string }) => parameter.in === "path")
        .map((parameter: { name: string }) => parameter.name);
      assert.equal(described, named, `${method} ${path}`);
    }
    const text = JSON.stringify(body);
    for (const [, reference = ""] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
      const target = reference.split("/").reduce((node, key) => node?.[key], body);
      assert.ok(target, `${reference} is not there`);
    }
    const put =
      body.paths["/v1/subscriptions/{alias}"].put.requestBody.content["application/json"].schema;
    assert.equal(put.required, ["cartridge"]);
  });
});

suite("public pages", (test) => {
  test("help, health, metrics, CA and the install script need no token and hold no secret", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const get = (path: string): ReturnType<TestController["call"]> =>
      controller.call("GET", path, { token: "" });
    assert.match((await get("/")).body, /PUT +\/v1\/subscriptions/);
    assert.is((await get("/healthz")).body, "ok\n");
    assert.is((await get("/readyz")).status, 200);
    assert.is((await get("/ca.pem")).body, "PEM");
    controller.settle();
    const metrics = (await get("/metrics")).body;
    assert.match(metrics, /strata_processes\{state="pending"\} 1/);
    assert.not.match(metrics, /hi-|default/);
    const script = await get("/install.sh");
    assert.match(script.body, /^#!\/bin\/sh/);
    assert.not.ok(script.body.includes("@URL@"));
    const forged = await controller.request("/install.sh", { headers: { host: "evil.example" } });
    assert.not.match(await forged.text(), /evil/);
  });

  test("what is not there is a problem with a hint", async () => {
    await using controller = await aController();
    const answer = await controller.call("GET", "/v1/nothing");
    assert.equal([answer.status, answer.body.code], [404, "NOT_FOUND"]);
    const binary = await controller.call("GET", "/v1/agent/linux-amd64");
    assert.equal([binary.status, binary.body.code], [404, "AGENT_NOT_BUILT"]);
  });
});
