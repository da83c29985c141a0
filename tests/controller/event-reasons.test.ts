import type { ProcessReport } from "@strata/protocol/agent/messages";

import { aController, type TestController } from "../support/controller.ts";
import { aFakeAgent, type FakeAgent, prepare } from "../support/fake-agent.ts";
import { assert, suite } from "../support/suite.ts";

async function aPlacedProcess(controller: TestController): Promise<FakeAgent> {
  await prepare(controller, 1);
  const agent = await aFakeAgent(controller);
  controller.settle();
  await agent.work();
  return agent;
}

async function messageOf({ call }: TestController, type: string): Promise<string> {
  const { body } = await call("GET", `/v1/events?type=${type}&limit=1000`);
  return String(body.items.at(-1)?.message);
}

const exit: ProcessReport["lastExit"] = {
  code: 137,
  reason: "out-of-memory",
  at: "2026-01-01T00:00:00Z",
};

suite("the message of an event", (test) => {
  test("says why a process goes where it goes", async () => {
    await using controller = await aController();
    await aPlacedProcess(controller);
    assert.match(await messageOf(controller, "process.placed"), /goes to node node-a: .+ room/);
  });

  test("says how a process ended, also when its node gives no other reason", async () => {
    await using controller = await aController();
    const agent = await aPlacedProcess(controller);
    await agent.work(() => ({ state: "failed", ready: false, lastExit: exit }));
    assert.match(
      await messageOf(controller, "process.failed"),
      "is failed: it ended with code 137 (out-of-memory)",
    );
  });

  test("has the node's own words where there are any", async () => {
    await using controller = await aController();
    const agent = await aPlacedProcess(controller);
    const problem = { code: "EXITED", message: "ended three times in a row" };
    await agent.work(() => ({ state: "failed", ready: false, lastExit: exit, problem }));
    assert.match(await messageOf(controller, "process.failed"), "is failed: ended three times");
  });

  test("says why a process is told to stop", async () => {
    await using controller = await aController();
    const agent = await aPlacedProcess(controller);
    await controller.call("POST", "/v1/subscriptions/hi/scale", { body: { processes: 0 } });
    controller.settle();
    await agent.work();
    assert.match(await messageOf(controller, "process.stopping"), /is told to stop: .{5}/);
  });
});
