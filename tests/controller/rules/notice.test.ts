/** What clients and nodes see of a process that goes although it is well. */
import type { Process } from "@strata/protocol/api/resources";

import { aController, type TestController } from "../../support/controller.ts";
import { aFakeAgent, type FakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";

const usage = { memoryBytes: 1, pids: 1, networkRxBytes: 0, networkTxBytes: 0 };
const web = { name: "web", protocol: "tcp", containerPort: 80, hostPort: 31_000 } as const;

type Scene = AsyncDisposable & {
  readonly controller: TestController;
  readonly agent: FakeAgent;
  readonly processes: () => Promise<readonly Process[]>;
  /** So many seconds pass, each with a report; `connections` are those of every process. */
  readonly seconds: (count: number, connections?: number) => Promise<void>;
  /** Ids of processes whose node was told to stop them. */
  readonly told: () => readonly string[];
};

async function aScene(processes: number, wish: object = {}): Promise<Scene> {
  const controller = await aController();
  await prepare(controller, processes);
  await put(controller, { processes, ...wish });
  const agent = await aFakeAgent(controller);
  const scene: Scene = {
    controller,
    agent,
    processes: async () =>
      (await controller.call("GET", "/v1/subscriptions/hi/processes")).body.items,
    seconds: async (count, connections = 0) => {
      for (let second = 0; second < count; second += 1) {
        controller.settle();
        const sampledAtMs = controller.services.clock.nowMs();
        const metrics = { ...usage, cpuUsageUs: sampledAtMs, sampledAtMs, connections };
        await agent.work(() => ({ metrics, ports: [web] }));
        controller.settle();
        controller.advance(1000);
      }
    },
    told: () =>
      [...agent.told.values()].flatMap(({ desired, processId }) =>
        desired === "stopped" ? [processId] : [],
      ),
    [Symbol.asyncDispose]: () => controller[Symbol.asyncDispose](),
  };
  await scene.seconds(2);
  return scene;
}

async function put(controller: TestController, wish: object): Promise<void> {
  const body = { cartridge: "hello", ...wish };
  const answer = await controller.call("PUT", "/v1/subscriptions/hi", { body });
  assert.ok(answer.status < 300, JSON.stringify(answer.body));
}

/** The state of each and how many endpoints it has. */
const shown = (all: readonly Process[]): readonly (readonly [string, number])[] =>
  all
    .map(({ state, endpoints }) => [state, endpoints.length] as const)
    .toSorted(([left], [right]) => left.localeCompare(right));

suite("a process that goes although it is well", (test) => {
  test("is shown as draining without endpoints for its notice, and its node hears of it then", async () => {
    await using scene = await aScene(2);
    await scene.controller.call("POST", "/v1/subscriptions/hi/scale", { body: { processes: 1 } });
    await scene.seconds(1);
    assert.equal(shown(await scene.processes()), [
      ["draining", 0],
      ["running", 1],
    ]);
    assert.equal(scene.told(), []);
    await scene.seconds(1);
    assert.equal(scene.told(), []);
    await scene.seconds(3);
    assert.equal(shown(await scene.processes()), [["running", 1]]);
  });

  test("is replaced with notice by a roll-out and by a restart, and as many as wished can be asked all the time", async () => {
    await using scene = await aScene(2);
    for (const change of ["restart", "env"]) {
      const before = (await scene.processes()).map(({ id }) => id);
      if (change === "env") await put(scene.controller, { processes: 2, env: { COLOUR: "red" } });
      else await scene.controller.call("POST", "/v1/subscriptions/hi/restart");
      let drained = 0;
      for (let second = 0; second < 30; second += 1) {
        await scene.seconds(1);
        const all = await scene.processes();
        const asked = all.filter(({ endpoints }) => endpoints.length > 0).length;
        assert.ok(asked >= 2, `${asked} can be asked`);
        drained += all.filter(({ state }) => state === "draining").length;
      }
      const after = await scene.processes();
      assert.equal(shown(after), [
        ["running", 1],
        ["running", 1],
      ]);
      assert.ok(after.every(({ id }) => !before.includes(id)));
      assert.ok(drained >= 4, `each was seen draining for its notice: ${drained}`);
    }
  });

  test("waits for what is in flight, for as long as its subscription says", async () => {
    await using scene = await aScene(1, { drain: { notice: "1s", max: "8s" } });
    const { body } = await scene.controller.call("GET", "/v1/subscriptions/hi");
    assert.equal(body.drain, { notice: 1, max: 8 });
    await scene.controller.call("POST", "/v1/subscriptions/hi/scale", { body: { processes: 0 } });
    await scene.seconds(7, 3);
    assert.equal(scene.told(), []);
    assert.equal(shown(await scene.processes()), [["draining", 0]]);
    await scene.seconds(3, 3);
    assert.equal(await scene.processes(), []);
  });

  test("stays when it is wanted again before its node has heard of it", async () => {
    await using scene = await aScene(2);
    const before = (await scene.processes()).map(({ id }) => id);
    const scale = async (processes: number): Promise<void> => {
      await scene.controller.call("POST", "/v1/subscriptions/hi/scale", { body: { processes } });
      await scene.seconds(1);
    };
    await scale(1);
    await scale(2);
    const after = await scene.processes();
    assert.equal(
      after.map(({ id }) => id),
      before,
    );
    assert.equal(shown(after), [
      ["running", 1],
      ["running", 1],
    ]);
  });

  test("is told at once when its subscription is deleted, or says so", async () => {
    for (const wish of [{}, { drain: { max: 0 } }]) {
      await using scene = await aScene(1, wish);
      if ("drain" in wish)
        await scene.controller.call("POST", "/v1/subscriptions/hi/scale", {
          body: { processes: 0 },
        });
      else await scene.controller.call("DELETE", "/v1/subscriptions/hi");
      scene.controller.settle();
      await scene.agent.poll();
      assert.is(scene.told().length, 1);
    }
  });
});
