/** Limits that change while processes run: what the controller tells the nodes. */
import { aController, type TestController } from "../support/controller.ts";
import { aFakeAgent, type FakeAgent, GIB, prepare } from "../support/fake-agent.ts";
import { assert, suite } from "../support/suite.ts";

type Shown = { id: string; generation: number; ready: boolean; reason: { code: string } | null };

async function processesOf(controller: TestController): Promise<readonly Shown[]> {
  return (await controller.call("GET", "/v1/subscriptions/hi/processes")).body.items;
}

const idsOf = async (controller: TestController): Promise<readonly string[]> =>
  (await processesOf(controller)).map(({ id }) => id).toSorted();

async function put(controller: TestController, body: object): Promise<void> {
  const answer = await controller.call("PUT", "/v1/subscriptions/hi", {
    body: { cartridge: "hello", processes: 2, ...body },
  });
  assert.is(answer.status, 200, JSON.stringify(answer.body));
}

async function converge(controller: TestController, agent: FakeAgent): Promise<void> {
  for (let round = 0; round < 12; round += 1) {
    controller.settle();
    await agent.work();
  }
  controller.settle();
}

/** Two processes that run, on a node with so much memory. */
async function running(
  controller: TestController,
  memoryBytes = 8 * GIB,
): Promise<{ agent: FakeAgent; ids: readonly string[] }> {
  await prepare(controller, 2);
  const capacity = { cpuMillis: 4000, memoryBytes, pids: 100_000 };
  const agent = await aFakeAgent(controller, { capacity });
  await converge(controller, agent);
  return { agent, ids: await idsOf(controller) };
}

suite("changed resources alone", (test) => {
  test("reach the processes that run under their assignment, and none is replaced", async () => {
    await using controller = await aController();
    const { agent, ids } = await running(controller);
    const before = new Map(agent.told);
    await put(controller, { resources: { memory: "1Gi", cpu: 2, cpuWeight: 50 } });
    controller.settle();
    await agent.poll();
    for (const [id, told] of agent.told) {
      assert.is(told.id, before.get(id)?.id);
      assert.is(told.desired, "running");
      assert.is(told.spec.limits.memoryMaxBytes, GIB);
      assert.is(told.spec.limits.cpuWeight, 50);
      assert.ok(told.fence > (before.get(id)?.fence ?? 0));
    }
    await converge(controller, agent);
    assert.equal(await idsOf(controller), ids);
    const { generation } = (await controller.call("GET", "/v1/subscriptions/hi")).body;
    assert.ok((await processesOf(controller)).every((one) => one.generation === generation));
    const events = (await controller.call("GET", "/v1/events?limit=100")).body.items;
    const resized = events.filter((event: { type: string }) => event.type === "process.resized");
    assert.is(resized.length, 2);
  });

  test("come from a cartridge just as well", async () => {
    await using controller = await aController();
    const { agent, ids } = await running(controller);
    await controller.call("PUT", "/v1/cartridges/hello", {
      body: { image: "hello:1", partition: "web", resources: { memory: "512Mi" } },
    });
    await converge(controller, agent);
    assert.equal(await idsOf(controller), ids);
    assert.ok([...agent.told.values()].every(({ spec }) => spec.limits.memoryMaxBytes === GIB / 2));
  });

  test("that a node has no room for replace those that do not fit", async () => {
    await using controller = await aController();
    // Two of 256 MiB run; one may grow to 640 MiB beside the other, but not both.
    const { agent, ids } = await running(controller, GIB);
    await put(controller, { resources: { memory: "640Mi" } });
    controller.settle();
    const grown = (await processesOf(controller)).filter(({ id }) => ids.includes(id));
    assert.equal(new Set(grown.map(({ generation }) => generation)), new Set([1, 2]));
    await aFakeAgent(controller, { name: "node-b" }).then(async (other) => {
      for (let round = 0; round < 12; round += 1) {
        controller.settle();
        await agent.work();
        await other.work();
      }
    });
    const after = await idsOf(controller);
    assert.is(after.filter((id) => ids.includes(id)).length, 1);
    assert.ok((await processesOf(controller)).every(({ ready }) => ready));
  });

  test("are shown as refused as long as a node keeps the old ones", async () => {
    await using controller = await aController();
    const { agent } = await running(controller);
    await put(controller, { resources: { memory: "16Mi" } });
    controller.settle();
    const problem = { code: "RESIZE_REFUSED", message: "it uses more memory" };
    await agent.work(() => ({ problem }));
    const { status } = (await controller.call("GET", "/v1/subscriptions/hi")).body;
    assert.is(status.message, "it uses more memory (RESIZE_REFUSED)");
    assert.ok((await processesOf(controller)).every(({ reason }) => reason?.code === problem.code));
    await agent.work();
    assert.is((await controller.call("GET", "/v1/subscriptions/hi")).body.status.message, null);
  });
});

suite("a change of more than resources", (test) => {
  test("replaces every process as ever", async () => {
    await using controller = await aController();
    const { agent, ids } = await running(controller);
    await put(controller, { resources: { memory: "1Gi" }, env: { A: "1" } });
    await converge(controller, agent);
    assert.not.ok((await idsOf(controller)).some((id) => ids.includes(id)));
  });

  test("is not undone by one of resources after it: a restart is a restart", async () => {
    await using controller = await aController();
    const { agent, ids } = await running(controller);
    await controller.call("POST", "/v1/subscriptions/hi/restart", { body: {} });
    await put(controller, { resources: { memory: "1Gi" } });
    await converge(controller, agent);
    assert.not.ok((await idsOf(controller)).some((id) => ids.includes(id)));
  });

  test("of the partition moves every process, whatever its limits", async () => {
    await using controller = await aController();
    const { agent, ids } = await running(controller);
    await controller.call("PUT", "/v1/partitions/other", { body: {} });
    const other = await aFakeAgent(controller, { name: "node-b", partition: "other" });
    await put(controller, { resources: { memory: "1Gi" }, partition: "other" });
    for (let round = 0; round < 12; round += 1) {
      controller.settle();
      await agent.work();
      await other.work();
    }
    assert.is(other.told.size, 2);
    assert.is(agent.told.size, 0);
    assert.not.ok((await idsOf(controller)).some((id) => ids.includes(id)));
  });
});
