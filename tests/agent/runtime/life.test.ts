import { assert, suite } from "../../support/suite.ts";
import { aNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";

suite("the life of a process", (test) => {
  test("runs what is assigned, and stops it by its signal", async () => {
    await using node = await aNode();
    const script = "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.05; done";
    node.assign(anAssignment(script));
    const running = await node.until("web-1", ({ state }) => state === "running");
    assert.ok(running.ready);
    assert.ok((running.pid ?? 0) > 1);
    assert.is(running.restarts, 0);

    node.assign(anAssignment(script, { desired: "stopped", fence: 2 }));
    const stopped = await node.until("web-1", ({ state }) => state === "stopped");
    assert.is(stopped.lastExit?.code, 0);
    assert.is(stopped.lastExit?.reason, "exited");
    assert.is(node.log("web-1"), "hello\nbye\n");
  });
});
