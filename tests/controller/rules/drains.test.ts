import { START_GRACE_MS } from "@strata/controller/domain/presence";

import { aController, type TestController } from "../../support/controller.ts";
import { aFakeAgent, aProcessReport, type FakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";

type Shown = { readonly id: string; readonly node: string; readonly ready: boolean };

const BEAT_MS = 5000;

type Scene = AsyncDisposable & {
  readonly controller: TestController;
  readonly from: FakeAgent;
  readonly processes: () => Promise<readonly Shown[]>;
  /** Beats pass; `connections` are those of every process on the node `from`. */
  readonly beats: (
    count: number,
    state?: { readonly connections?: number; readonly others?: readonly FakeAgent[] },
  ) => Promise<void>;
};

/** Processes on the node `from`, past the minute after a start. */
async function aScene(processes: number): Promise<Scene> {
  const controller = await aController();
  await prepare(controller, processes);
  const from = await aFakeAgent(controller, { name: "from" });
  const usage = { memoryBytes: 1, pids: 1, networkRxBytes: 0, networkTxBytes: 0 };
  const scene: Scene = {
    controller,
    from,
    processes: async () =>
      (await controller.call("GET", "/v1/subscriptions/hi/processes")).body.items,
    beats: async (count, { connections = 0, others = [] } = {}) => {
      for (let beat = 0; beat < count; beat += 1) {
        controller.advance(BEAT_MS);
        controller.settle();
        const sampledAtMs = controller.services.clock.nowMs();
        await from.work(() => ({
          metrics: { ...usage, cpuUsageUs: sampledAtMs, sampledAtMs, connections },
        }));
        for (const agent of others) await agent.work();
        controller.settle();
      }
    },
    [Symbol.asyncDispose]: () => controller[Symbol.asyncDispose](),
  };
  await scene.beats(START_GRACE_MS / BEAT_MS + 1);
  return scene;
}

const on = (shown: readonly Shown[], node: string): readonly Shown[] =>
  shown.filter((one) => one.node === node);

suite("a drain", (test) => {
  test("stops nothing before its replacement is ready", async () => {
    await using scene = await aScene(2);
    const { controller, from } = scene;
    const to = await aFakeAgent(controller, { name: "to" });
    await controller.call("POST", "/v1/nodes/from/drain");
    for (let round = 0; round < 10; round += 1) {
      controller.settle();
      await to.work(() => ({ state: "starting", ready: false }));
      await from.work();
    }
    assert.is(on(await scene.processes(), "from").length, 2);
    assert.is([...from.told.values()].filter(({ desired }) => desired === "stopped").length, 0);
    await scene.beats(4, { others: [to] });
    assert.equal(
      (await scene.processes()).map(({ node, ready }) => [node, ready]),
      [
        ["to", true],
        ["to", true],
      ],
    );
  });

  test("lets a process that is replaced finish what it has in flight, and stops it then", async () => {
    await using scene = await aScene(1);
    const { controller, from } = scene;
    const to = await aFakeAgent(controller, { name: "to" });
    const busy = { connections: 3, others: [to] };
    await scene.beats(2, busy);
    await controller.call("POST", "/v1/nodes/from/drain");
    await scene.beats(3, busy);
    assert.equal((await scene.processes()).map(({ node }) => node).toSorted(), ["from", "to"]);
    assert.is([...from.told.values()][0]?.desired, "running", "its node has not heard of it");
    await scene.beats(3, { others: [to] });
    assert.equal(
      (await scene.processes()).map(({ node }) => node),
      ["to"],
    );
  });

  test("waits no longer than 30 s for that", async () => {
    await using scene = await aScene(1);
    const { controller } = scene;
    const to = await aFakeAgent(controller, { name: "to" });
    const busy = { connections: 3, others: [to] };
    await scene.beats(2, busy);
    await controller.call("POST", "/v1/nodes/from/drain");
    await scene.beats(5, busy);
    assert.is((await scene.processes()).length, 2);
    await scene.beats(4, busy);
    assert.equal(
      (await scene.processes()).map(({ node }) => node),
      ["to"],
    );
  });

  test("stops what is left at its deadline, replaced or not", async () => {
    await using scene = await aScene(2);
    const { controller } = scene;
    const answer = await controller.call("POST", "/v1/nodes/from/drain?deadline=30s");
    assert.is(answer.body.state, "draining");
    const leftMs = Date.parse(answer.body.drainDeadline) - controller.services.clock.nowMs();
    assert.is(leftMs, 30_000);
    await scene.beats(5);
    assert.is(on(await scene.processes(), "from").length, 2, "nobody else has room");
    await scene.beats(2);
    assert.is(on(await scene.processes(), "from").length, 0);
    assert.is((await controller.call("DELETE", "/v1/nodes/from")).status, 204);
  });

  test("takes another deadline, refuses what is none, and forgets it when it is called off", async () => {
    await using scene = await aScene(1);
    const { controller } = scene;
    const before = (await scene.processes()).map(({ id }) => id);
    await controller.call("POST", "/v1/nodes/from/drain?deadline=10s");
    await controller.call("POST", "/v1/nodes/from/drain?deadline=10m");
    await scene.beats(4);
    assert.equal(
      on(await scene.processes(), "from").map(({ id }) => id),
      before,
    );
    const wrong = await controller.call("POST", "/v1/nodes/from/drain?deadline=soon");
    assert.equal([wrong.status, wrong.body.code], [422, "INVALID"]);
    const off = await controller.call("POST", "/v1/nodes/from/uncordon");
    assert.is(off.body.drainDeadline, null);
    await scene.beats(200);
    assert.equal(
      (await scene.processes()).map(({ id }) => id),
      before,
      "the same process",
    );
  });

  test("called off, keeps a process that was finishing what it had", async () => {
    await using scene = await aScene(1);
    const { controller, from } = scene;
    const to = await aFakeAgent(controller, { name: "to" });
    const busy = { connections: 3, others: [to] };
    await scene.beats(2, busy);
    const [original] = await scene.processes();
    await controller.call("POST", "/v1/nodes/from/drain");
    await scene.beats(3, busy);
    // The replacement is lost before the original has gone.
    await controller.call("POST", "/v1/nodes/from/uncordon");
    const replacement = [...to.told.values()][0];
    if (replacement === undefined) throw new Error("there is no replacement");
    await to.report([aProcessReport(replacement, { state: "failed", ready: false })]);
    await scene.beats(1, { connections: 3 });
    const kept = on(await scene.processes(), "from");
    assert.equal(
      kept.map(({ id, ready }) => [id, ready]),
      [[original?.id, true]],
    );
    assert.is([...from.told.values()][0]?.desired, "running");
  });
});
