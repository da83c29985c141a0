import { aFakeAgent } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";
import { aNetworkScene, type NetworkScene } from "./a-network.ts";

suite("what nodes are told of the network", (test) => {
  test("first everything: services with their processes, nodes, and routes for an ingress", async () => {
    await using scene = await aNetworkScene();
    const table = await scene.ask();
    assert.is(table?.since, 0);
    const [service] = table?.services ?? [];
    assert.is(service?.alias, "hi");
    assert.is(service?.address, "198.18.0.1");
    assert.equal(service?.access, { kind: "tenant" });
    assert.is(service?.endpoints.length, 2);
    assert.equal(
      service?.endpoints.map(({ state, address, containerAddress, ports }) => ({
        state,
        address,
        containerAddress,
        ports,
      })),
      [
        {
          state: "ready",
          address: "192.0.2.1",
          containerAddress: "10.0.3.7",
          ports: { http: 20_001 },
        },
        {
          state: "ready",
          address: "192.0.2.1",
          containerAddress: "10.0.3.7",
          ports: { http: 20_002 },
        },
      ],
    );
    assert.equal(table?.nodes, [{ id: scene.agent.nodeId, address: "192.0.2.1" }]);
    assert.equal(
      table?.ingress?.routes.map(({ id, hosts, path }) => ({ id, hosts, path })),
      [{ id: "default.default.hi", hosts: ["hi.default.localhost"], path: "/" }],
    );
  });

  test("then nothing until something changes, and only that", async () => {
    await using scene = await aNetworkScene();
    await scene.put("/v1/subscriptions/other", { cartridge: "hello", processes: 0 });
    const first = await scene.ask();
    const known = { boot: first?.boot ?? "", revision: first?.revision ?? 0 };
    assert.is(await scene.ask(known), undefined);
    const waiting = scene.ask({ ...known, wait: "60s" });
    await scene.put("/v1/subscriptions/other", { cartridge: "hello", processes: 1 });
    await scene.run();
    const next = await waiting;
    assert.is(next?.since, known.revision);
    assert.equal(
      next?.services.map(({ alias }) => alias),
      ["other"],
    );
    assert.is(next?.nodes, undefined);
    assert.is(next?.ingress, undefined);
  });

  test("a subscription that is gone, and its route", async () => {
    await using scene = await aNetworkScene();
    const first = await scene.ask();
    await scene.controller.call("DELETE", "/v1/subscriptions/hi");
    await scene.run();
    const { boot = "", revision = 0 } = first ?? {};
    const leaving = await scene.ask({ boot, revision });
    assert.equal(leaving?.services, []);
    assert.equal(
      leaving?.removed,
      first?.services.map(({ id }) => id),
    );
    assert.equal(leaving?.ingress?.routes, []);
  });

  test("everything again from another life of the controller", async () => {
    await using scene = await aNetworkScene();
    const first = await scene.ask();
    const again = await scene.ask({ boot: "another", revision: first?.revision ?? 0 });
    assert.is(again?.since, 0);
    assert.equal(again?.services, first?.services);
    const ahead = await scene.ask({ boot: first?.boot ?? "", revision: 1_000_000 });
    assert.is(ahead?.since, 0);
  });

  test("a node without the role hears of no routes, and of them when it gets the role", async () => {
    await using scene = await aNetworkScene();
    const { call } = scene.controller;
    const path = `/v1/nodes/${scene.agent.name}/roles`;
    const shown = await call("PUT", path, { body: { roles: [] } });
    assert.equal(shown.body.roles, []);
    const first = await scene.ask();
    assert.is(first?.ingress, null);
    const back = await call("PUT", path, { body: { roles: null } });
    assert.equal(back.body.roles, ["ingress"]);
    const { boot = "", revision = 0 } = first ?? {};
    const next = await scene.ask({ boot, revision });
    assert.is(next?.ingress?.routes.length, 1);
    assert.equal(next?.services, []);
  });

  test("nobody but the node itself is told", async () => {
    await using scene = await aNetworkScene();
    const other = await aFakeAgent(scene.controller, { name: "node-b" });
    const answer = await scene.controller.call("GET", `/v1/nodes/${scene.agent.nodeId}/network`, {
      token: other.credential,
    });
    assert.is(answer.status, 403);
  });

  test("addresses last as long as subscriptions, and come again late", async () => {
    await using scene = await aNetworkScene();
    const addressOf = async (alias: string): Promise<string> => {
      const answer = await scene.controller.call("GET", `/v1/subscriptions/${alias}`);
      return String(answer.body.status.address);
    };
    await scene.put("/v1/subscriptions/b", { cartridge: "hello" });
    assert.is(await addressOf("b"), "198.18.0.2");
    await scene.controller.call("DELETE", "/v1/subscriptions/b");
    await scene.run();
    await scene.put("/v1/subscriptions/c", { cartridge: "hello" });
    assert.is(await addressOf("c"), "198.18.0.3");
    assert.is(await addressOf("hi"), "198.18.0.1");
  });

  test("a subscription says who reaches it, and that no route leads to it", async () => {
    await using scene = await aNetworkScene();
    const network = { access: ["web"], route: false };
    const put = await scene.put("/v1/subscriptions/hi", { cartridge: "hello", network });
    assert.equal(put.body.network, network);
    const table = await scene.ask();
    assert.equal(table?.services[0]?.access, { kind: "aliases", aliases: ["web"] });
    assert.equal(table?.ingress?.routes, []);
  });
});

suite("whether an ingress still leads to a process", (test) => {
  const leave = async (scene: NetworkScene): Promise<string> => {
    const { call, settle } = scene.controller;
    await call("POST", "/v1/subscriptions/hi/scale", { body: { processes: 1 } });
    settle();
    const { body } = await call("GET", "/v1/subscriptions/hi/processes");
    return body.items.find(({ state }: { state: string }) => state === "draining").id;
  };

  test("it does until it has carried out that it leaves, and finished what was under way", async () => {
    await using scene = await aNetworkScene();
    const { network } = scene.controller.services;
    const first = await scene.ask();
    const { boot = "", revision = 0 } = first ?? {};
    await scene.report({ boot, revision });
    const [asked = ""] = first?.services[0]?.endpoints.map(({ processId }) => processId) ?? [];
    assert.is(network.askReleased()(asked), false);
    const processId = await leave(scene);
    const next = await scene.ask({ boot, revision });
    const [service] = next?.services ?? [];
    const states = service?.endpoints.map((endpoint) => endpoint.state).toSorted();
    assert.equal(states, ["leaving", "ready"]);
    assert.is(network.askReleased()(processId), false);
    const counted = { processId, inFlight: 1, requests: 5, errors: 0 };
    await scene.report({ boot, revision: next?.revision ?? 0, endpoints: [counted] });
    assert.is(network.askReleased()(processId), false);
    await scene.report({ boot, revision: next?.revision ?? 0 });
    assert.is(network.askReleased()(processId), true);
    // What a former controller told it is of no meaning.
    assert.is((await scene.report({ boot: "other", revision: 0 })).status, 204);
    assert.is(network.askReleased()(processId), true);
  });

  test("all of them count that are present", async () => {
    await using scene = await aNetworkScene();
    const { network } = scene.controller.services;
    const other = await aFakeAgent(scene.controller, { name: "node-b" });
    const processId = await leave(scene);
    const table = await scene.ask();
    const { boot = "", revision = 0 } = table ?? {};
    await scene.report({ boot, revision });
    assert.is(network.askReleased()(processId), false);
    await scene.report({ boot, revision }, other);
    assert.is(network.askReleased()(processId), true);
  });

  test("nothing leads to it where no node has the role", async () => {
    await using scene = await aNetworkScene();
    await scene.put("/v1/partitions/web", { roles: [] });
    const processId = await leave(scene);
    assert.is(scene.controller.services.network.askReleased()(processId), true);
  });
});
