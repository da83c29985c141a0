import { join } from "node:path";

import { isMassLoss } from "@strata/controller/domain/node";

import { aController, type TestController } from "../../support/controller.ts";
import { aFakeAgent, type FakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

type Shown = { readonly id: string; readonly state: string; readonly node: string | null };

const MINUTE_MS = 60_000;

async function processesOf(controller: TestController): Promise<readonly Shown[]> {
  return (await controller.call("GET", "/v1/subscriptions/hi/processes")).body.items;
}

/** Time passes by beats; `agents` report, others are silent. */
async function pass(
  controller: TestController,
  ms: number,
  agents: readonly FakeAgent[],
): Promise<void> {
  for (let left = ms; left > 0; left -= 5000) {
    controller.advance(Math.min(5000, left));
    for (const agent of agents) await agent.work();
    controller.settle();
  }
}

async function someNodes(controller: TestController, count: number): Promise<readonly FakeAgent[]> {
  const agents: FakeAgent[] = [];
  for (let index = 0; index < count; index += 1)
    agents.push(await aFakeAgent(controller, { name: `n${index}` }));
  return agents;
}

suite("beats", (test) => {
  test("come as often as the server says: all nodes together within its rate, with jitter", async () => {
    await using controller = await aController({ environment: { STRATA_REPORTS_PER_SECOND: "1" } });
    await prepare(controller);
    const agents = await someNodes(controller, 4);
    const intervalOf = async (): Promise<number> =>
      (await agents[0]?.report([]))?.body.beatIntervalMs;
    assert.is(await intervalOf(), 5000);
    for (let index = 4; index < 12; index += 1) await aFakeAgent(controller, { name: `n${index}` });
    assert.is(await intervalOf(), 12_000);
    const { random } = controller.services;
    Object.assign(random, { fraction: () => 0.5 });
    assert.is(await intervalOf(), 12_600);
  });
});

suite("a node that comes and goes", (test) => {
  test("has one replacement for each of its processes, however often and long it is away", async () => {
    await using controller = await aController();
    await prepare(controller, 2);
    const [flapping] = await someNodes(controller, 1);
    if (flapping === undefined) throw new Error("no node");
    await pass(controller, 10_000, [flapping]);
    const other = await aFakeAgent(controller, { name: "spare" });
    await pass(controller, MINUTE_MS, [flapping, other]);
    for (let time = 0; time < 4; time += 1) {
      await pass(controller, 2 * MINUTE_MS, [other]);
      const away = await processesOf(controller);
      assert.is(away.length, 4);
      assert.is(away.filter(({ state }) => state === "suspect").length, 2);
      await pass(controller, 10_000, [flapping, other]);
      assert.is((await processesOf(controller)).length, 2, "as many as wished");
      // What runs moves back to it for the next turn.
      await controller.call("POST", "/v1/nodes/spare/drain");
      await pass(controller, 30_000, [flapping, other]);
      await controller.call("POST", "/v1/nodes/spare/uncordon");
    }
  });

  test("finds its processes stopped by no report that came late", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const [node] = await someNodes(controller, 1);
    if (node === undefined) throw new Error("no node");
    await pass(controller, MINUTE_MS + 10_000, [node]);
    await pass(controller, 20_000, []);
    assert.equal(
      (await processesOf(controller)).map(({ state }) => state),
      ["suspect"],
    );
    // Sent before it fell silent, and held up on the way.
    await node.report([], { sequence: 1 });
    assert.equal(
      (await processesOf(controller)).map(({ state }) => state),
      ["suspect"],
    );
    await pass(controller, 5000, [node]);
    assert.equal(
      (await processesOf(controller)).map(({ state }) => state),
      ["running"],
    );
  });
});

suite("a controller that starts", (test) => {
  test("gives every node a minute, and those that were away when it ended as well", async () => {
    await using folder = aTemporaryDirectory();
    const file = join(folder.path, "strata.db");
    let startMs = 0;
    {
      await using controller = await aController({ file });
      await prepare(controller, 1);
      const [lost] = await someNodes(controller, 1);
      await pass(controller, MINUTE_MS + 5000, lost === undefined ? [] : [lost]);
      await aFakeAgent(controller, { name: "spare" });
      await pass(controller, 20_000, []);
      assert.is((await controller.call("GET", "/v1/nodes/n0")).body.state, "away");
      startMs = controller.services.clock.nowMs() + 10 * MINUTE_MS;
    }
    await using controller = await aController({ file, startMs });
    // Nobody answers yet: perhaps nobody could.
    await pass(controller, MINUTE_MS - 5000, []);
    assert.is((await processesOf(controller)).length, 1, "no replacement");
    await pass(controller, 2 * MINUTE_MS, []);
    assert.is((await processesOf(controller)).length, 2);
  });

  test("in a mass loss goes on to hold replacements back", async () => {
    await using folder = aTemporaryDirectory();
    const file = join(folder.path, "strata.db");
    let startMs = 0;
    {
      await using controller = await aController({ file });
      await prepare(controller, 8);
      const agents = await someNodes(controller, 8);
      await pass(controller, MINUTE_MS + 5000, agents);
      await pass(controller, MINUTE_MS, agents.slice(0, 4));
      startMs = controller.services.clock.nowMs();
    }
    await using controller = await aController({ file, startMs });
    await pass(controller, 5 * MINUTE_MS, []);
    assert.is((await processesOf(controller)).length, 8);
    assert.is(controller.services.isHeld(), true);
  });
});

suite("the mass-loss breaker", (test) => {
  test("holds above 45 per cent and above three nodes, never for fewer", () => {
    const nodes = (away: number, present: number): { away: boolean; silentMs: number }[] => [
      ...Array.from({ length: away }, () => ({ away: true, silentMs: 20_000 })),
      ...Array.from({ length: present }, () => ({ away: false, silentMs: 0 })),
    ];
    const held = ([away, present]: readonly [number, number]): boolean =>
      isMassLoss(nodes(away, present));
    assert.equal(
      (
        [
          [3, 0],
          [3, 3],
          [4, 5],
          [9, 11],
        ] as const
      ).map(held),
      [false, false, false, false],
    );
    assert.equal(
      (
        [
          [4, 0],
          [4, 4],
          [10, 12],
          [46, 54],
        ] as const
      ).map(held),
      [true, true, true, true],
    );
  });
});
