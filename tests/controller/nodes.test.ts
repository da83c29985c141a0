import { listNodes } from "@strata/controller/store/nodes";

import { aController, type TestController } from "../support/controller.ts";
import {
  aCapacity,
  aFakeAgent,
  aJoinRequest,
  aJoinToken,
  type FakeAgent,
  GIB,
  prepare,
} from "../support/fake-agent.ts";
import { assert, suite } from "../support/suite.ts";

const MINUTE_MS = 60_000;
/** Past the minute after a start in which nobody is found silent. */
const GRACE_MS = MINUTE_MS + 1;

type Shown = { id: string; state: string; ready: boolean; node: string | null };

async function processesOf(controller: TestController): Promise<Shown[]> {
  return (await controller.call("GET", "/v1/subscriptions/hi/processes")).body.items;
}

async function work(controller: TestController, agents: readonly FakeAgent[]): Promise<void> {
  for (let round = 0; round < 10; round += 1) {
    controller.settle();
    for (const agent of agents) await agent.work();
  }
  controller.settle();
}

/** Time passes; `agents` beat, others do not. */
async function pass(
  controller: TestController,
  ms: number,
  agents: readonly FakeAgent[] = [],
): Promise<void> {
  for (let left = ms; left > 0; left -= 10_000) {
    controller.advance(Math.min(10_000, left));
    for (const agent of agents) await agent.work();
    controller.settle();
  }
}

async function stateOf(controller: TestController, name: string): Promise<string> {
  return (await controller.call("GET", `/v1/nodes/${name}`)).body.state;
}

suite("joining", (test) => {
  test("makes a node that can hold processes, and gives its credential out once", async () => {
    await using controller = await aController();
    await prepare(controller);
    const agent = await aFakeAgent(controller, { name: "alpha" });
    assert.is(await stateOf(controller, "alpha"), "ready");
    assert.is(await stateOf(controller, agent.nodeId), "ready");
    const shown = JSON.stringify((await controller.call("GET", "/v1/nodes/alpha")).body);
    assert.not.ok(shown.includes(agent.credential.split("_")[2] ?? "?"));
  });

  test("does not count as a sign of life; the first report does", async () => {
    await using controller = await aController();
    await prepare(controller);
    const agent = await aFakeAgent(controller, { name: "alpha" });
    const lastSeenAt = async (): Promise<string | null> =>
      (await controller.call("GET", "/v1/nodes/alpha")).body.lastSeenAt;
    assert.is(await lastSeenAt(), null);
    await agent.work();
    assert.ok(await lastSeenAt());
  });

  test("goes on to be seen, of which a restart knows", async () => {
    await using controller = await aController();
    await prepare(controller);
    const agents = [
      await aFakeAgent(controller, { name: "alpha" }),
      await aFakeAgent(controller, { name: "beta" }),
    ];
    const written = (): number[] =>
      listNodes(controller.services.store.sql).map(({ lastSeenAt }) =>
        Date.parse(lastSeenAt ?? ""),
      );
    for (const agent of agents) await agent.work();
    const [first = 0] = written();
    controller.advance(2 * MINUTE_MS);
    for (const agent of agents) await agent.work();
    controller.advance(1000);
    controller.settle();
    for (const at of written())
      assert.is(
        Math.round((at - first) / 1000),
        120,
        "when they reported, not when it was written",
      );
  });

  test("refuses a token that is unknown, used up, expired or revoked", async () => {
    await using controller = await aController();
    await prepare(controller);
    const join = async (token: string, name: string): Promise<number> =>
      (
        await controller.call("POST", "/v1/nodes/join", {
          token,
          body: aJoinRequest({ name, machineId: name }),
        })
      ).status;
    assert.is(await join("unknown-secret-of-nobody", "a"), 401);
    assert.is(await join("", "a"), 401);
    const token = await aJoinToken(controller, "web");
    assert.is(await join(token, "a"), 201, "the whole token works as well as its secret");
    assert.is(await join(token, "b"), 401, "used up");
    assert.is(await join(token, "a"), 201, "the same machine may ask again for a lost answer");
    const late = await aJoinToken(controller, "web");
    controller.advance(61 * MINUTE_MS);
    assert.is(await join(late, "c"), 401, "expired");
    const revoked = await aJoinToken(controller, "web");
    await controller.call("DELETE", `/v1/join-tokens/${revoked.split(".")[1]}`);
    assert.is(await join(revoked, "c"), 401, "revoked");
    assert.is((await controller.call("GET", "/v1/nodes")).body.items.length, 1);
  });

  test("adds to a name that another machine has, and gives a machine that lost its credential its node back", async () => {
    await using controller = await aController();
    await prepare(controller);
    const first = await aFakeAgent(controller, { name: "same", machineId: "m1" });
    const second = await aFakeAgent(controller, { name: "same", machineId: "m2" });
    assert.is.not(second.name, "same");
    const again = await aFakeAgent(controller, { name: "same", machineId: "m1" });
    assert.is(again.nodeId, first.nodeId);
    assert.is((await first.report([])).status, 401, "the old credential has ended");
    assert.is(
      (await aFakeAgent(controller, { name: "same", machineId: "m2" })).nodeId,
      second.nodeId,
    );
  });

  test("an agent reaches its own node alone, and nothing else of the API", async () => {
    await using controller = await aController();
    await prepare(controller);
    const one = await aFakeAgent(controller, { name: "one" });
    const two = await aFakeAgent(controller, { name: "two" });
    const as = async (path: string, method = "GET"): Promise<number> =>
      (
        await controller.call(method, path, {
          token: one.credential,
          body: method === "GET" ? undefined : {},
        })
      ).status;
    assert.is(await as(`/v1/nodes/${two.nodeId}/assignments`), 403);
    assert.is(await as(`/v1/nodes/${two.nodeId}/reports`, "POST"), 403);
    assert.is(await as("/v1/nodes"), 403);
    assert.is(await as(`/v1/nodes/${one.nodeId}/assignments`), 200);
  });
});

suite("silence", (test) => {
  test("away after three missed beats; one replacement each after lostAfter, not before", async () => {
    await using controller = await aController();
    await prepare(controller, 2);
    const lost = await aFakeAgent(controller, { name: "lost" });
    await work(controller, [lost]);
    const spare = await aFakeAgent(controller, { name: "spare" });
    await pass(controller, GRACE_MS, [lost, spare]);
    await pass(controller, 10_000, [spare]);
    assert.is(await stateOf(controller, "lost"), "ready");
    await pass(controller, 10_000, [spare]);
    assert.is(await stateOf(controller, "lost"), "away");
    assert.equal(
      (await processesOf(controller)).map(({ state }) => state),
      ["suspect", "suspect"],
    );
    await pass(controller, 35_000, [spare]);
    assert.is((await processesOf(controller)).length, 2);
    await pass(controller, 5 * MINUTE_MS, [spare]);
    const all = await processesOf(controller);
    assert.is(all.length, 4);
    assert.is(all.filter(({ node, ready }) => node === "spare" && ready).length, 2);
  });

  test("when the node returns the surplus is stopped, what is not ready first", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const node = await aFakeAgent(controller, { name: "old" });
    await work(controller, [node]);
    const [original] = await processesOf(controller);
    const spare = await aFakeAgent(controller, { name: "spare" });
    await pass(controller, GRACE_MS, [node, spare]);
    // The spare never gets its replacement ready.
    for (let left = 90; left > 0; left -= 5) {
      controller.advance(5000);
      await spare.work(() => ({ state: "starting", ready: false }));
      controller.settle();
    }
    assert.is((await processesOf(controller)).length, 2);
    await work(controller, [node, spare]);
    const left = await processesOf(controller);
    assert.equal(
      left.map(({ id, state }) => ({ id, state })),
      [{ id: original?.id, state: "running" }],
    );
  });

  test("nobody is found silent in the first minute after a start", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    await aFakeAgent(controller, { name: "quiet" });
    await pass(controller, 59_000);
    assert.is(await stateOf(controller, "quiet"), "ready");
    await pass(controller, 20_000);
    assert.is(await stateOf(controller, "quiet"), "away");
  });

  test("many nodes silent at once are taken for a fault of ours: no replacement, and it is said", async () => {
    await using controller = await aController();
    await prepare(controller, 8);
    const agents = await Promise.all(
      Array.from({ length: 8 }, async (_, index) =>
        aFakeAgent(controller, {
          name: `n${index}`,
          // Each holds two.
          capacity: { ...aCapacity, memoryBytes: 600 * 1024 * 1024 },
        }),
      ),
    );
    await work(controller, agents);
    await pass(controller, GRACE_MS, agents);
    const alive = agents.slice(0, 4);
    await pass(controller, 3 * MINUTE_MS, alive);
    assert.is(
      (await controller.call("GET", "/v1/nodes")).body.items.filter(
        (node: { state: string }) => node.state === "away",
      ).length,
      4,
    );
    assert.is((await processesOf(controller)).length, 8);
    assert.match(
      (await controller.call("GET", "/v1/subscriptions/hi")).body.status.message,
      /held back/,
    );
    assert.match(
      (await controller.call("GET", "/v1/nodes/n7")).body.message,
      /nothing is replaced/,
    );
    assert.is((await controller.call("GET", "/v1/nodes/n0")).body.message, null);
    const said = async (): Promise<string[]> =>
      (await controller.call("GET", "/v1/events?type=controller")).body.items.map(
        ({ type }: { type: string }) => type,
      );
    assert.equal(await said(), ["controller.holding"]);
    // Two come back: fewer than a mass.
    await pass(controller, 3 * MINUTE_MS, agents.slice(0, 6));
    const ready = (await processesOf(controller)).filter(
      (one) => one.ready && one.state === "running",
    );
    assert.is(ready.length, 8);
    assert.equal(await said(), ["controller.holding", "controller.resumed"]);
  });
});

suite("cordon, drain, delete", (test) => {
  test("a cordoned node takes nothing new and keeps what it has", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller, { name: "a" });
    await work(controller, [agent]);
    assert.is((await controller.call("POST", "/v1/nodes/a/cordon")).body.state, "cordoned");
    await controller.call("POST", "/v1/subscriptions/hi/scale", { body: { processes: 2 } });
    await work(controller, [agent]);
    const states = (await processesOf(controller)).map(({ state }) => state).toSorted();
    assert.equal(states, ["pending", "running"]);
    await controller.call("POST", "/v1/nodes/a/uncordon");
    await work(controller, [agent]);
    assert.is((await processesOf(controller)).filter(({ ready }) => ready).length, 2);
  });

  test("a drained node gives its processes away, replacement first; then it can be deleted", async () => {
    await using controller = await aController();
    await prepare(controller, 3);
    const from = await aFakeAgent(controller, { name: "from" });
    await work(controller, [from]);
    const to = await aFakeAgent(controller, { name: "to" });
    assert.is((await controller.call("DELETE", "/v1/nodes/from")).status, 409);
    await controller.call("POST", "/v1/nodes/from/drain");
    for (let round = 0; round < 20; round += 1) {
      controller.settle();
      assert.ok((await processesOf(controller)).filter(({ ready }) => ready).length >= 3);
      await from.work();
      await to.work();
    }
    controller.settle();
    assert.equal(
      (await processesOf(controller)).map(({ node }) => node),
      ["to", "to", "to"],
    );
    assert.is((await controller.call("DELETE", "/v1/nodes/from")).status, 204);
    const refused = await from.report([]);
    assert.is(refused.status, 410);
    assert.is(refused.body.code, "NODE_DECOMMISSIONED");
    assert.is(refused.body.epoch, controller.services.epoch);
  });

  test("a drain without another node waits, and can be called off", async () => {
    await using controller = await aController();
    await prepare(controller, 2);
    const agent = await aFakeAgent(controller, { name: "only" });
    await work(controller, [agent]);
    const before = (await processesOf(controller)).map(({ id }) => id);
    await controller.call("POST", "/v1/nodes/only/drain");
    controller.settle();
    await controller.call("POST", "/v1/nodes/only/uncordon");
    await work(controller, [agent]);
    const after = await processesOf(controller);
    assert.equal(
      after.map(({ id }) => id),
      before,
      "nothing was stopped",
    );
  });

  test("deleting a node that is away moves its processes at once", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const dead = await aFakeAgent(controller, { name: "dead" });
    await work(controller, [dead]);
    const spare = await aFakeAgent(controller, { name: "spare" });
    await pass(controller, GRACE_MS, [dead, spare]);
    await pass(controller, 20_000, [spare]);
    assert.is((await controller.call("DELETE", "/v1/nodes/dead")).status, 204);
    await work(controller, [spare]);
    assert.equal(
      (await processesOf(controller)).map(({ node, ready }) => ({ node, ready })),
      [{ node: "spare", ready: true }],
    );
  });

  test("a replacement that needs the port of the process that it replaces gets it", async () => {
    await using controller = await aController();
    await prepare(controller);
    const ports = [{ name: "http", containerPort: 80, hostPort: 8080 }];
    await controller.call("PUT", "/v1/subscriptions/hi", {
      body: { cartridge: "hello", processes: 1, ports },
    });
    const agent = await aFakeAgent(controller, { name: "only" });
    await work(controller, [agent]);
    const [before] = await processesOf(controller);
    await controller.call("POST", "/v1/subscriptions/hi/restart");
    await work(controller, [agent]);
    const after = await processesOf(controller);
    assert.is(after.length, 1);
    assert.is.not(after[0]?.id, before?.id);
    assert.ok(after[0]?.ready);
  });

  test("packs processes into few nodes and never beyond their memory", async () => {
    await using controller = await aController();
    await prepare(controller);
    const resources = { memory: "1Gi", cpu: 0.5 };
    await controller.call("PUT", "/v1/subscriptions/hi", {
      body: { cartridge: "hello", processes: 6, resources },
    });
    const capacity = { ...aCapacity, memoryBytes: 4 * GIB };
    const a = await aFakeAgent(controller, { name: "a", capacity });
    const b = await aFakeAgent(controller, { name: "b", capacity });
    await work(controller, [a, b]);
    assert.equal(new Set([a.told.size, b.told.size]), new Set([4, 2]));
  });
});
