import { aController, type TestController } from "../support/controller.ts";
import { aFakeAgent, aProcessReport, type FakeAgent, prepare } from "../support/fake-agent.ts";
import { assert, suite } from "../support/suite.ts";

type Shown = {
  id: string;
  state: string;
  ready: boolean;
  node: string | null;
  reason: { code: string } | null;
};

async function processesOf(controller: TestController): Promise<Shown[]> {
  const answer = await controller.call("GET", "/v1/subscriptions/hi/processes");
  return answer.body.items;
}

async function statusOf(
  controller: TestController,
): Promise<{ desired: number; running: number; ready: number; message: string | null }> {
  const { status } = (await controller.call("GET", "/v1/subscriptions/hi")).body;
  const { desired, running, ready, message } = status;
  return { desired, running, ready, message };
}

/** Lets controller and agents work until nothing changes any more. */
async function converge(controller: TestController, agents: readonly FakeAgent[]): Promise<void> {
  for (let round = 0; round < 12; round += 1) {
    controller.settle();
    for (const agent of agents) await agent.work();
  }
  controller.settle();
}

suite("from a subscription to running processes", (test) => {
  test("runs as many processes as wished, and says when all is as wished", async () => {
    await using controller = await aController();
    await prepare(controller, 3);
    const agent = await aFakeAgent(controller);
    controller.settle();
    await agent.poll();
    assert.is(agent.told.size, 3);
    await converge(controller, [agent]);
    assert.equal(await statusOf(controller), { desired: 3, running: 3, ready: 3, message: null });
  });

  test("waits for a node, and says so", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    controller.settle();
    const [process] = await processesOf(controller);
    assert.is(process?.state, "pending");
    assert.is(process?.reason?.code, "NO_NODES");
    assert.match((await statusOf(controller)).message ?? "", /join/);
  });

  test("scales up and down, and forgets what has stopped", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    await converge(controller, [agent]);
    for (const count of [5, 2, 0, 3]) {
      const answer = await controller.call("POST", "/v1/subscriptions/hi/scale", {
        body: { processes: count },
      });
      assert.is(answer.status, 200);
      await converge(controller, [agent]);
      assert.is((await processesOf(controller)).length, count);
      assert.is(agent.told.size, count);
    }
  });

  test("replaces all processes for a new generation without ever having fewer ready than wished", async () => {
    await using controller = await aController();
    await prepare(controller, 4);
    const agent = await aFakeAgent(controller);
    await converge(controller, [agent]);
    const before = new Set((await processesOf(controller)).map(({ id }) => id));
    await controller.call("PUT", "/v1/cartridges/hello", {
      body: { image: "hello:2", partition: "web" },
    });
    let most = 0;
    for (let round = 0; round < 30; round += 1) {
      controller.settle();
      await agent.work();
      const now = await processesOf(controller);
      most = Math.max(most, now.length);
      assert.ok(now.filter(({ ready }) => ready).length >= 4, `round ${round}`);
    }
    const after = await processesOf(controller);
    assert.is(after.length, 4);
    assert.not.ok(after.some(({ id }) => before.has(id)));
    assert.ok(most <= 6, `${most} at once`);
  });

  test("deletes a subscription only when its last process has stopped", async () => {
    await using controller = await aController();
    await prepare(controller, 2);
    const agent = await aFakeAgent(controller);
    await converge(controller, [agent]);
    assert.is((await controller.call("DELETE", "/v1/subscriptions/hi")).status, 202);
    controller.settle();
    assert.match((await statusOf(controller)).message ?? "", /2 processes left/);
    await converge(controller, [agent]);
    assert.is((await controller.call("GET", "/v1/subscriptions/hi")).status, 404);
    assert.is(agent.told.size, 0);
  });

  test("brings a subscription back that is PUT again while it is being deleted", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    await converge(controller, [agent]);
    await controller.call("DELETE", "/v1/subscriptions/hi");
    const again = await controller.call("PUT", "/v1/subscriptions/hi", {
      body: { cartridge: "hello", processes: 2 },
    });
    assert.is(again.status, 201);
    await converge(controller, [agent]);
    assert.is((await statusOf(controller)).ready, 2);
  });

  test("tries another process, later and later, in the place of one that failed for good", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    const fail = (): {
      state: "failed";
      ready: false;
      problem: { code: string; message: string };
    } => ({
      state: "failed",
      ready: false,
      problem: { code: "IMAGE_NOT_FOUND", message: "no such manifest" },
    });
    const failAll = async (): Promise<string> => {
      controller.settle();
      await agent.work(fail);
      controller.settle();
      const [process] = await processesOf(controller);
      return process?.id ?? "";
    };
    const first = await failAll();
    assert.match((await statusOf(controller)).message ?? "", /IMAGE_NOT_FOUND/);
    controller.advance(9000);
    assert.is(await failAll(), first, "left alone for ten seconds");
    controller.advance(1000);
    const second = await failAll();
    assert.is.not(second, first);
    controller.advance(19_000);
    assert.is(await failAll(), second, "then for twenty");
    controller.advance(1000);
    assert.is.not(await failAll(), second);
    assert.is((await processesOf(controller)).length, 1);
  });
});

suite("late and repeated messages", (test) => {
  test("a report with an older fence changes nothing", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    await converge(controller, [agent]);
    const [old] = [...agent.told.values()];
    if (old === undefined) throw new Error("no assignment");
    await controller.call("POST", "/v1/subscriptions/hi/scale", { body: { processes: 0 } });
    controller.settle();
    await agent.report([aProcessReport(old, { state: "failed", ready: false })]);
    const [process] = await processesOf(controller);
    assert.is(process?.state, "draining");
  });

  test("a report of another assignment changes nothing", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    controller.settle();
    await agent.poll();
    const [assignment] = [...agent.told.values()];
    if (assignment === undefined) throw new Error("no assignment");
    await agent.report([{ ...aProcessReport(assignment), assignmentId: "assignment-of-old" }]);
    assert.is((await processesOf(controller))[0]?.state, "pending");
  });

  test("a report that comes twice or late is dropped by its sequence, one of an earlier life of the agent too", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    await converge(controller, [agent]);
    const [assignment] = [...agent.told.values()];
    if (assignment === undefined) throw new Error("no assignment");
    const unready = aProcessReport(assignment, { ready: false });
    await agent.report([unready], { sequence: 1 });
    assert.is((await processesOf(controller))[0]?.ready, true);
    await agent.report([aProcessReport(assignment)], { bootId: "boot-2", sequence: 0 });
    await agent.report([unready], { bootId: "boot-1", sequence: 9999 });
    assert.is((await processesOf(controller))[0]?.ready, true);
    await agent.report([unready], { bootId: "boot-2", sequence: 1 });
    assert.is((await processesOf(controller))[0]?.ready, false);
  });

  test("overtakes an agent that has seen a higher fence than a restored controller remembers", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    controller.settle();
    await agent.poll();
    const [assignment] = [...agent.told.values()];
    if (assignment === undefined) throw new Error("no assignment");
    await agent.report([aProcessReport(assignment, { fence: 50 })]);
    await agent.poll();
    assert.is([...agent.told.values()][0]?.fence, 51);
  });

  test("a process that was to stop is forgotten when the node, knowing that, no longer holds it", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    await converge(controller, [agent]);
    await controller.call("POST", "/v1/subscriptions/hi/scale", { body: { processes: 0 } });
    controller.settle();
    await agent.report([]);
    assert.is((await processesOf(controller)).length, 1, "it does not know yet");
    await agent.poll();
    await agent.report([]);
    assert.is((await processesOf(controller)).length, 0);
  });

  test("an agent that asks with a revision that we never gave out is told everything", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    controller.settle();
    const path = `/v1/nodes/${agent.nodeId}/assignments?revision=999&wait=30s`;
    const answer = await controller.call("GET", path, { token: agent.credential });
    assert.is(answer.status, 200);
    assert.is(answer.body.assignments.length, 1);
  });
});
