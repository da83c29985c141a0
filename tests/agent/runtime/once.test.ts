/** Processes that run to their end: on real containers. */
import { assert, suite } from "../../support/suite.ts";
import { aNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";

const once = { restart: "never" } as const;

suite("a process that is not started again", (test) => {
  test("is stopped after exit code 0 and failed after another, and keeps its log", async () => {
    await using node = await aNode();
    node.assign(
      anAssignment("echo done", { processId: "good-1", spec: once }),
      anAssignment("echo broken; exit 3", { processId: "bad-1", spec: once }),
      anAssignment("", { processId: "none-1", spec: { ...once, command: ["/no/such/program"] } }),
    );
    const good = await node.until("good-1", ({ state }) => state === "stopped");
    const bad = await node.until("bad-1", ({ state }) => state === "failed");
    await node.until("none-1", ({ state }) => state === "failed");
    assert.equal([good.lastExit?.code, good.restarts, good.problem], [0, 0, undefined]);
    assert.equal([bad.lastExit?.code, bad.restarts, bad.problem?.code], [3, 0, "EXITED"]);

    // Another life of the agent tells the same, and starts nothing.
    await node.restart();
    assert.is(node.report("good-1")?.state, "stopped");
    assert.is(node.report("bad-1")?.lastExit?.code, 3);
    assert.match(node.log("good-1"), "done");
    assert.is(
      node
        .log("bad-1")
        .split("\n")
        .filter((line) => line.includes("broken")).length,
      1,
    );
  });

  test("that ended while the agent was away is told of, and not run twice", async () => {
    await using node = await aNode();
    const script = "echo began; trap 'exit 5' TERM; while :; do sleep 3600 & wait $!; done";
    node.assign(anAssignment(script, { processId: "run-1", spec: once }));
    const { pid = 0 } = await node.until("run-1", ({ state }) => state === "running");
    await node.restart(() => {
      process.kill(pid, "SIGKILL");
    });
    const { lastExit } = await node.until("run-1", ({ state }) => state === "failed");
    assert.is(lastExit?.code, 137);
    // Told to go, it goes with all that it left.
    node.assign();
    await node.untilForgotten("run-1");
  });
});
