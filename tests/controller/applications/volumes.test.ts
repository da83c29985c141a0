/** Named volumes: one node each, one writer at a time. */
import type { Volume } from "@strata/protocol/api/volumes";

import { aController, type Answer, type TestController } from "../../support/controller.ts";
import { aFakeAgent, type FakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";

const data = { name: "data", path: "/data" };
const put = (controller: TestController, alias: string, body: object): Promise<Answer> =>
  controller.call("PUT", `/v1/subscriptions/${alias}`, {
    body: { cartridge: "hello", volumes: [data], ...body },
  });
const volumeOf = async (controller: TestController, name = "data"): Promise<Volume> =>
  (await controller.call("GET", `/v1/volumes/${name}`)).body;
const messageOf = async (controller: TestController, alias: string): Promise<string> =>
  (await controller.call("GET", `/v1/subscriptions/${alias}`)).body.status.message ?? "";
const wanted = (agent: FakeAgent): readonly string[] =>
  [...agent.told.values()].flatMap(({ processId, desired }) =>
    desired === "running" ? [processId] : [],
  );
const fenceOf = (agent: FakeAgent, processId = ""): number | undefined =>
  agent.told.get(processId)?.volumeFences?.["data"];

/** All report what they are told, until nothing changes any more. */
async function settle(controller: TestController, ...agents: readonly FakeAgent[]): Promise<void> {
  for (let round = 0; round < 4; round += 1) {
    controller.settle();
    for (const agent of agents) await agent.work();
  }
  controller.settle();
  for (const agent of agents) await agent.poll();
}

suite("a named volume", (test) => {
  test("stays where it was first made, with one writer at a time and a fence that grows", async () => {
    await using controller = await aController();
    await prepare(controller);
    const first = await aFakeAgent(controller, { name: "node-a" });
    await put(controller, "db", {});
    await settle(controller, first);
    const [before = ""] = wanted(first);
    const fence = fenceOf(first, before) ?? 0;
    assert.ok(fence > 0);
    const bound = await volumeOf(controller);
    assert.equal([bound.node, bound.state, bound.holder], ["node-a", "bound", before]);

    // A better node is no reason to leave, and another writer waits.
    const second = await aFakeAgent(controller, { name: "node-b" });
    await put(controller, "other", {});
    await settle(controller, first, second);
    assert.equal(wanted(first), [before]);
    assert.match(
      await messageOf(controller, "other"),
      /one writer at a time, and db-.*VOLUME_HELD/,
    );

    // A roll-out ends the old one before the new one begins.
    await controller.call("DELETE", "/v1/subscriptions/other");
    await put(controller, "db", { env: { A: "1" } });
    controller.settle();
    await first.poll();
    assert.equal(wanted(first), [], "the old one is told to end first");
    assert.is((await volumeOf(controller)).holder, before);
    await settle(controller, first, second);
    const [after = ""] = wanted(first);
    assert.ok(after !== "" && after !== before);
    assert.ok((fenceOf(first, after) ?? 0) > fence);
    assert.equal(wanted(second), []);
  });

  test("that all may write to is shared on its node", async () => {
    await using controller = await aController();
    await prepare(controller);
    const agents = [
      await aFakeAgent(controller, { name: "node-a" }),
      await aFakeAgent(controller, { name: "node-b" }),
    ];
    await put(controller, "web", { processes: 4, volumes: [{ ...data, shared: true }] });
    await settle(controller, ...agents);
    assert.equal(
      agents.map((agent) => wanted(agent).length).toSorted((a, b) => a - b),
      [0, 4],
    );
    const [told] = agents.flatMap((agent) => [...agent.told.values()]);
    assert.equal(told?.volumeFences, undefined);
    assert.is((await volumeOf(controller)).holder, null);
  });

  test("waits for its lost node, until somebody gives it up", async () => {
    await using controller = await aController();
    await prepare(controller);
    const lost = await aFakeAgent(controller, { name: "node-a" });
    await put(controller, "db", { lostAfter: "60s" });
    await settle(controller, lost);
    const [old = ""] = wanted(lost);
    const fence = fenceOf(lost, old) ?? 0;
    const other = await aFakeAgent(controller, { name: "node-b" });
    for (let seconds = 0; seconds < 120; seconds += 5) {
      controller.advance(5000);
      await other.work();
      controller.settle();
    }
    await other.poll();
    assert.equal(wanted(other), []);
    assert.match(await messageOf(controller, "db"), /node-a, which is away \(VOLUME_ELSEWHERE\)/);
    assert.is((await volumeOf(controller)).state, "away");
    const released = await controller.call("POST", "/v1/volumes/data/release");
    assert.equal([released.status, released.body.node], [200, null]);
    await settle(controller, other);
    const [anew = ""] = wanted(other);
    assert.ok((fenceOf(other, anew) ?? 0) > fence);

    // The old node comes back: what it runs is told to end, and is nobody's writer.
    await settle(controller, lost, other);
    assert.equal([wanted(lost), wanted(other)], [[], [anew]]);
    assert.is((await volumeOf(controller)).node, "node-b");
    const refused = await controller.call("POST", "/v1/volumes/data/release");
    assert.equal([refused.status, refused.body.code], [409, "IN_USE"]);
  });

  test("keeps its process on a node that is drained", async () => {
    await using controller = await aController();
    await prepare(controller);
    const first = await aFakeAgent(controller, { name: "node-a" });
    await put(controller, "db", {});
    await settle(controller, first);
    const second = await aFakeAgent(controller, { name: "node-b" });
    await controller.call("POST", "/v1/nodes/node-a/drain");
    await settle(controller, first, second);
    assert.is(wanted(first).length, 1);
    assert.equal(wanted(second), []);
  });

  test("is deleted when nothing uses it, once its node says so", async () => {
    await using controller = await aController();
    await prepare(controller);
    const agent = await aFakeAgent(controller);
    await put(controller, "db", {});
    await settle(controller, agent);
    const used = await controller.call("DELETE", "/v1/volumes/data");
    assert.equal([used.status, used.body.code], [409, "IN_USE"]);
    await controller.call("DELETE", "/v1/subscriptions/db");
    await settle(controller, agent);
    assert.is((await controller.call("DELETE", "/v1/volumes/data")).status, 202);
    assert.equal((await agent.poll())?.removeVolumes, [{ tenant: "default", name: "data" }]);
    assert.is((await volumeOf(controller)).state, "deleting");
    await put(controller, "db", {});
    controller.settle();
    assert.match(await messageOf(controller, "db"), /being deleted \(VOLUME_ELSEWHERE\)/);
    await agent.report([], { removedVolumes: [{ tenant: "default", name: "data" }] });
    assert.is((await controller.call("GET", "/v1/volumes/data")).status, 404);
    assert.equal((await agent.poll())?.removeVolumes, undefined);
    await settle(controller, agent);
    assert.is(wanted(agent).length, 1, "and is made anew");
  });

  test("is told of as lost when its node is deleted", async () => {
    await using controller = await aController();
    await prepare(controller);
    const agent = await aFakeAgent(controller);
    await put(controller, "db", {});
    await settle(controller, agent);
    for (let seconds = 0; seconds < 60; seconds += 5) {
      controller.advance(5000);
      controller.settle();
    }
    assert.is((await controller.call("DELETE", "/v1/nodes/node-a")).status, 204);
    controller.settle();
    const { items } = (await controller.call("GET", "/v1/events?subject=data")).body;
    assert.ok(items.some(({ type }: { type: string }) => type === "volume.lost"));
    assert.is((await volumeOf(controller)).state, "unbound");
  });
});
