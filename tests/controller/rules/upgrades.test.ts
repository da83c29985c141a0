import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { planUpgrades } from "@strata/controller/domain/upgrade";
import type { UpgradeReport } from "@strata/protocol/agent/upgrade";
import type { NodeUpgrade } from "@strata/protocol/api/nodes";
import fc from "fast-check";

import { aController, type TestController } from "../../support/controller.ts";
import { aFakeAgent, type FakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

type Scene = AsyncDisposable & {
  readonly controller: TestController;
  readonly agents: readonly FakeAgent[];
  readonly sha256: string;
  readonly upgrades: () => Promise<readonly (NodeUpgrade | null)[]>;
  /** Reports of one node, as its agent would speak of its upgrade. */
  readonly say: (
    agent: FakeAgent | undefined,
    state: UpgradeReport["state"],
    reason?: string,
  ) => Promise<void>;
};

/** A controller that serves an agent, and nodes of the partition web. */
async function aScene(nodes: number): Promise<Scene> {
  const folder = aTemporaryDirectory();
  const program = "the new agent";
  writeFileSync(join(folder.path, "strata-agent-linux-amd64"), program);
  const controller = await aController({ environment: { STRATA_AGENT_DIR: folder.path } });
  await prepare(controller);
  const agents: FakeAgent[] = [];
  for (let index = 0; index < nodes; index += 1) {
    const agent = await aFakeAgent(controller, { name: `n${index}` });
    await agent.work();
    agents.push(agent);
  }
  const upgrades: Scene["upgrades"] = async () =>
    (await controller.call("GET", "/v1/nodes")).body.items.map(
      ({ upgrade }: { upgrade: NodeUpgrade | null }) => upgrade,
    );
  return {
    controller,
    agents,
    sha256: createHash("sha256").update(program).digest("hex"),
    upgrades,
    say: async (agent, state, reason) => {
      const order = (await agent?.poll())?.upgrade;
      const index = agents.findIndex((one) => one === agent);
      const id = order?.id ?? (await upgrades())[index]?.id ?? "?";
      await agent?.report([], {
        agentVersion: state === "installed" ? "0.2.0" : "test",
        upgrade: { id, state, ...(reason !== undefined && { reason }) },
      });
      controller.settle();
    },
    [Symbol.asyncDispose]: async () => {
      await controller[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const statesOf = async (scene: Scene): Promise<readonly (string | undefined)[]> =>
  (await scene.upgrades()).map((upgrade) => upgrade?.state);

suite("the upgrade of an agent", (test) => {
  test("is ordered with the hash of what is served, until the node says how it ended", async () => {
    await using scene = await aScene(1);
    const { controller, agents, sha256 } = scene;
    const [agent] = agents;
    const answer = await controller.call("POST", "/v1/nodes/n0/upgrade");
    assert.is(answer.status, 202);
    const order = (await agent?.poll())?.upgrade;
    assert.is(order?.sha256, sha256);
    // It has taken in everything and says nothing of the upgrade: it may have been killed meanwhile.
    await agent?.report([]);
    assert.is((await agent?.poll())?.upgrade?.id, order?.id);
    await scene.say(agent, "installed");
    assert.equal(await statesOf(scene), ["settling"]);
    controller.advance(9_999);
    await scene.say(agent, "installed");
    assert.equal(await statesOf(scene), ["settling"]);
    controller.advance(1);
    await scene.say(agent, "installed");
    const [upgrade] = await scene.upgrades();
    assert.equal([upgrade?.state, upgrade?.version], ["complete", "0.2.0"]);
    await controller.call("POST", "/v1/nodes/n0/cordon");
    assert.is((await agent?.poll())?.upgrade, undefined);
  });

  test("does not settle while the new program begins a new life again and again", async () => {
    await using scene = await aScene(1);
    const { controller, agents } = scene;
    await controller.call("POST", "/v1/nodes/n0/upgrade");
    const id = (await agents[0]?.poll())?.upgrade?.id ?? "";
    for (let life = 0; life < 10; life += 1) {
      const upgrade = { id, state: "installed" } as const;
      await agents[0]?.report([], { upgrade, bootId: `life-${life}`, sequence: 1 });
      controller.advance(9_000);
    }
    assert.equal(await statesOf(scene), ["settling"]);
  });

  test("says why it was rolled back, and can be asked for again", async () => {
    await using scene = await aScene(1);
    const { controller, agents } = scene;
    await controller.call("POST", "/v1/nodes/n0/upgrade");
    await scene.say(agents[0], "rolledBack", "it ended with 1");
    const [first] = await scene.upgrades();
    assert.equal([first?.state, first?.reason], ["rolledBack", "it ended with 1"]);
    const events = (await controller.call("GET", "/v1/events?type=node")).body.items;
    assert.match(JSON.stringify(events), /rolled back: it ended with 1/);
    await controller.call("POST", "/v1/nodes/n0/upgrade");
    const [second] = await scene.upgrades();
    assert.is(second?.state, "wanted");
    assert.is.not(second?.id, first?.id);
    await agents[0]?.report([], { upgrade: { id: first?.id ?? "", state: "rolledBack" } });
    assert.equal(await statesOf(scene), ["wanted"], "a report of the first changes nothing");
  });

  test("ends as refused when the node never says how it ended", async () => {
    await using scene = await aScene(1);
    const { controller, agents } = scene;
    await controller.call("POST", "/v1/nodes/n0/upgrade");
    for (let minute = 0; minute < 15; minute += 1) {
      assert.equal(await statesOf(scene), ["wanted"]);
      controller.advance(60_000);
      await agents[0]?.work();
      controller.settle();
    }
    const [upgrade] = await scene.upgrades();
    assert.is(upgrade?.state, "refused");
    assert.match(upgrade?.reason ?? "", /15 min/);
  });

  test("is refused for a silent node, and where no agent is served", async () => {
    await using scene = await aScene(1);
    const { controller } = scene;
    controller.advance(61_000);
    controller.settle();
    const away = await controller.call("POST", "/v1/nodes/n0/upgrade");
    assert.equal([away.status, away.body.code], [503, "NODE_AWAY"]);
    await using bare = await aController();
    await prepare(bare);
    await aFakeAgent(bare, { name: "n0" });
    const none = await bare.call("POST", "/v1/nodes/n0/upgrade");
    assert.equal([none.status, none.body.code], [404, "AGENT_NOT_BUILT"]);
    const unknown = await bare.call("POST", "/v1/nodes/upgrade", { body: { partition: "no" } });
    assert.is(unknown.status, 404);
  });
});

suite("the upgrade of a partition", (test) => {
  test("goes from node to node, each when the one before is complete", async () => {
    await using scene = await aScene(3);
    const { controller, agents } = scene;
    const answer = await controller.call("POST", "/v1/nodes/upgrade", {
      body: { partition: "web" },
    });
    assert.is(answer.status, 202);
    const seen: (readonly (string | undefined)[])[] = [];
    for (const agent of agents) {
      seen.push(await statesOf(scene));
      await scene.say(agent, "installed");
      controller.advance(10_000);
      await scene.say(agent, "installed");
      controller.settle();
    }
    assert.equal(seen, [
      ["wanted", "queued", "queued"],
      ["complete", "wanted", "queued"],
      ["complete", "complete", "wanted"],
    ]);
    assert.equal(await statesOf(scene), ["complete", "complete", "complete"]);
  });

  test("stops at the first node that is rolled back; the others keep what they run", async () => {
    await using scene = await aScene(3);
    const { controller, agents } = scene;
    await controller.call("POST", "/v1/nodes/upgrade", { body: { partition: "web", atOnce: 2 } });
    assert.equal(await statesOf(scene), ["wanted", "wanted", "queued"]);
    await scene.say(agents[0], "rolledBack", "it ended with 1");
    assert.equal(await statesOf(scene), ["rolledBack", "wanted", undefined]);
    await scene.say(agents[1], "installed");
    controller.advance(10_000);
    await scene.say(agents[1], "installed");
    assert.equal(await statesOf(scene), ["rolledBack", "complete", undefined]);
  });

  test("never has more under way than asked for, and begins with none after a failure", () => {
    const upgrade = fc.record({
      id: fc.constant("u"),
      sha256: fc.constant("0".repeat(64)),
      version: fc.constant(null),
      state: fc.constantFrom("queued", "wanted", "settling", "complete", "refused", "rolledBack"),
      reason: fc.constant(null),
      requestedAt: fc.constant("2026-01-01T00:00:00.000Z"),
      settling: fc.constant(null),
      stage: fc.constant({ id: "s", atOnce: 2 }),
    });
    const node = fc.record({
      name: fc.string(),
      presence: fc.constantFrom("present", "away"),
      upgrade,
    });
    const isBusy = (state: string | undefined): boolean =>
      state === "wanted" || state === "settling";
    fc.assert(
      fc.property(fc.array(node, { maxLength: 8 }), (drawn) => {
        const nodes = drawn.map((one, index) => ({ ...one, id: `n${index}` }));
        const steps = new Map(
          planUpgrades(nodes, Date.parse("2026-01-01T00:01:00Z")).map((step) => [
            step.nodeId,
            step.upgrade,
          ]),
        );
        const started = nodes.filter(({ id }) => isBusy(steps.get(id)?.state));
        const before = nodes.filter(({ upgrade: { state } }) => isBusy(state));
        assert.ok(started.length === 0 || before.length + started.length <= 2);
        const hasFailed = nodes.some(({ upgrade: { state } }) =>
          ["refused", "rolledBack"].includes(state),
        );
        if (hasFailed) assert.is(started.length, 0);
      }),
    );
  });
});
