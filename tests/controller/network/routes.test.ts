import { assert, suite } from "../../support/suite.ts";
import { aNetworkScene, type NetworkScene } from "./a-network.ts";

const toHi = { backends: [{ subscription: "hi" }] };

async function aTenant(scene: NetworkScene, name: string): Promise<string> {
  const { call } = scene.controller;
  await scene.put(`/v1/tenants/${name}`, {});
  const { body } = await call("POST", "/v1/tokens", {
    body: { name: `of-${name}`, scope: "deployer", tenant: name },
  });
  const token = String(body.token);
  const put = await call("PUT", "/v1/subscriptions/hi", { token, body: { cartridge: "hello" } });
  assert.is(put.status, 201);
  return token;
}

suite("routes", (test) => {
  test("are put, shown as they were written, listed and deleted", async () => {
    await using scene = await aNetworkScene();
    const { call } = scene.controller;
    const route = { ...toHi, hosts: ["shop.example.com"], limits: { answer: "5s", body: "1Mi" } };
    const put = await call("PUT", "/v1/routes/shop", { body: route });
    assert.is(put.status, 201);
    assert.is(put.body.limits.answer, "5s");
    assert.is(put.body.path, "/");
    assert.equal(put.body.status, { ready: 2, message: null });
    const {
      name: _n,
      tenant: _t,
      revision: _r,
      createdAt: _c,
      updatedAt: _u,
      status: _s,
      ...same
    } = put.body;
    const again = await call("PUT", "/v1/routes/shop", { body: same });
    assert.is(again.status, 200);
    assert.is(again.body.revision, 1);
    const stale = { body: { ...route, path: "/a" }, headers: { "if-match": '"7"' } };
    assert.is((await call("PUT", "/v1/routes/shop", stale)).status, 412);
    const list = await call("GET", "/v1/routes");
    assert.equal(
      list.body.items.map(({ name }: { name: string }) => name),
      ["shop"],
    );
    const shown = await call("GET", "/v1/subscriptions/hi");
    assert.equal(shown.body.status.hosts, ["hi.default.localhost", "shop.example.com"]);
    assert.is((await call("DELETE", "/v1/subscriptions/hi")).body.code, "IN_USE");
    assert.is((await call("DELETE", "/v1/routes/shop")).status, 204);
    assert.is((await call("GET", "/v1/routes/shop")).status, 404);
    const events = await call("GET", "/v1/events?type=route");
    assert.is(events.status, 200);
  });

  test("reach an ingress at once, and take the place of what a subscription has by itself", async () => {
    await using scene = await aNetworkScene();
    const first = await scene.ask();
    const { boot = "", revision = 0 } = first ?? {};
    const waiting = scene.ask({ boot, revision, wait: "60s" });
    await scene.put("/v1/routes/shop", {
      hosts: ["hi.default.localhost", "*.default.localhost"],
      backends: [{ subscription: "hi", port: "http", weight: 3 }],
      sticky: true,
    });
    const next = await waiting;
    assert.equal(next?.services, []);
    const id = first?.services[0]?.id;
    assert.equal(
      next?.ingress?.routes.map((route) => ({ id: route.id, backends: route.backends })),
      [{ id: "route.default.shop", backends: [{ service: id, port: "http", weight: 3 }] }],
    );
    assert.is(next?.ingress?.routes[0]?.sticky, true);
    assert.is(next?.ingress?.routes[0]?.limits.answerMsMax, 60_000);
  });

  test("have hosts that no other tenant has, and below the domain their tenant's alone", async () => {
    await using scene = await aNetworkScene();
    const { call } = scene.controller;
    const token = await aTenant(scene, "acme");
    await scene.put("/v1/routes/one", { ...toHi, hosts: ["a.example.com"] });
    const tried = async (hosts: readonly string[]): Promise<string> => {
      const body = { ...toHi, hosts };
      const answer = await call("PUT", "/v1/routes/other", { token, body });
      return String(answer.body.code ?? answer.status);
    };
    assert.is(await tried(["a.example.com"]), "HOST_TAKEN");
    assert.is(await tried(["*.example.com"]), "HOST_TAKEN");
    assert.is(await tried(["hi.default.localhost"]), "HOST_TAKEN");
    assert.is(await tried(["*.localhost"]), "HOST_TAKEN");
    assert.is(await tried(["localhost"]), "HOST_TAKEN");
    assert.is(await tried(["nobody.localhost"]), "HOST_TAKEN");
    assert.is(await tried(["b.example.com", "acme.localhost", "*.acme.localhost"]), "201");
    const twice = { ...toHi, hosts: ["b.example.com"] };
    const mine = await call("PUT", "/v1/routes/third", { token, body: twice });
    assert.is(mine.body.code, "HOST_TAKEN");
    const apart = await call("PUT", "/v1/routes/third", { token, body: { ...twice, path: "/x" } });
    assert.is(apart.status, 201);
    // Neither sees the other's.
    const seen = await call("GET", "/v1/routes", { token });
    assert.equal(
      seen.body.items.map(({ name }: { name: string }) => name),
      ["other", "third"],
    );
    assert.is((await call("GET", "/v1/routes/one", { token })).status, 404);
  });

  test("have a TCP port that no other route has, and none of the machines' own", async () => {
    await using scene = await aNetworkScene();
    const { call } = scene.controller;
    const token = await aTenant(scene, "acme");
    await scene.put("/v1/routes/mail", { ...toHi, tcpPort: 25 });
    await scene.put("/v1/routes/sql", { ...toHi, tcpPort: 5432 });
    const tried = async (tcpPort: number): Promise<string> => {
      const answer = await call("PUT", "/v1/routes/x", { token, body: { ...toHi, tcpPort } });
      return String(answer.body.code ?? answer.status);
    };
    assert.is(await tried(5432), "PORT_TAKEN");
    assert.is(await tried(26), "FORBIDDEN");
    assert.is(await tried(5433), "201");
  });

  test("lead to what is there, and are refused with a reason otherwise", async () => {
    await using scene = await aNetworkScene();
    const { call } = scene.controller;
    const tried = async (body: object): Promise<string> =>
      String((await call("PUT", "/v1/routes/x", { body })).body.code);
    const hosts = ["a.example.com"];
    assert.is(await tried({ hosts, backends: [{ subscription: "no" }] }), "REFERENCE_UNKNOWN");
    const port = [{ subscription: "hi", port: "admin" }];
    assert.is(await tried({ hosts, backends: port }), "REFERENCE_UNKNOWN");
    for (const body of [
      toHi,
      { hosts, backends: [] },
      { ...toHi, hosts: ["A.example.com"] },
      { ...toHi, hosts: ["a.example.com:80"] },
      { ...toHi, hosts: ["*.*.example.com"] },
      { ...toHi, hosts: ["a b"] },
      { ...toHi, hosts, path: "/a//b" },
      { ...toHi, hosts, path: "/a/../b" },
      { ...toHi, hosts, path: "/a b" },
      { ...toHi, hosts, path: `/${"a".repeat(1000)}"` },
      { ...toHi, hosts, tcpPort: 5432 },
      { ...toHi, hosts, limits: { answer: "0s" } },
    ])
      assert.is(await tried(body), "INVALID", JSON.stringify(body));
  });

  test("come with others in one apply, or not at all", async () => {
    await using scene = await aNetworkScene();
    const { call } = scene.controller;
    const documents = [
      {
        kind: "Route",
        name: "new",
        hosts: ["new.example.com"],
        backends: [{ subscription: "new" }],
      },
      { kind: "Subscription", name: "new", cartridge: "hello" },
    ];
    const dry = await call("POST", "/v1/apply?dryRun=true", { body: documents });
    assert.equal(
      dry.body.results.map(({ kind, action }: { kind: string; action: string }) => [kind, action]),
      [
        ["Subscription", "created"],
        ["Route", "created"],
      ],
    );
    assert.is((await call("GET", "/v1/routes/new")).status, 404);
    assert.is((await call("POST", "/v1/apply", { body: documents })).status, 200);
    const shown = await call("GET", "/v1/routes/new");
    assert.is(shown.body.status.message, "no process of new is ready");
  });
});
