import { mkdirSync, readFileSync } from "node:fs";

import { agentPaths, processPaths } from "@strata/agent/paths";

import { assert, suite } from "../../support/suite.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";

const ticking = anAssignment("i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done", {
  spec: { stopGraceMs: 0 },
});

function supervisorPid(node: TestNode): number {
  const { run } = processPaths(agentPaths(node.config), "web-1");
  return Number(readFileSync(`${run}/pid`, "utf8"));
}

/** From now on the record of the process cannot be written, as on a full disk. */
function blockRecord(node: TestNode, processId: string): void {
  mkdirSync(`${processPaths(agentPaths(node.config), processId).record}.new`);
}

suite("an agent whose disk is full", (test) => {
  test("still stops and forgets what is no longer wanted", async () => {
    await using node = await aNode();
    node.assign(ticking);
    await node.until("web-1", ({ state }) => state === "running");
    blockRecord(node, "web-1");
    node.assign({ ...ticking, desired: "stopped", fence: 2 });
    await node.until("web-1", ({ state }) => state === "stopped");
    node.assign();
    await node.untilForgotten("web-1");
  });

  test("takes over what runs and learns how it ends", async () => {
    await using node = await aNode();
    node.assign(ticking);
    const { pid = 0 } = await node.until("web-1", ({ state }) => state === "running");
    await node.restart(() => blockRecord(node, "web-1"));
    assert.is(node.report("web-1")?.pid, pid);
    process.kill(pid, "SIGKILL");
    const { lastExit } = await node.until("web-1", (report) => report.lastExit !== undefined);
    assert.is(lastExit?.code, 137);
  });
});

suite("another life of the agent", (test) => {
  test("takes over what runs: same pid, same start, no line of output lost", async () => {
    await using node = await aNode();
    node.assign(ticking);
    const before = await node.until("web-1", ({ state }) => state === "running");
    await node.restart();
    const after = node.report("web-1");
    assert.is(after?.state, "running");
    assert.is(after?.pid, before.pid);
    assert.is(after?.startedAt, before.startedAt);
    assert.is(after?.restarts, 0);
    node.assign({ ...ticking, desired: "stopped", fence: 2 });
    await node.until("web-1", ({ state }) => state === "stopped");
    const lines = node.log("web-1").trim().split("\n").map(Number);
    assert.equal(
      lines,
      lines.map((_, index) => index + 1),
    );
  });

  test("learns the exit code of what ended meanwhile", async () => {
    await using node = await aNode();
    node.assign(anAssignment("while [ ! -e /tmp/end ]; do sleep 0.02; done; exit 42"));
    const { pid = 0 } = await node.until("web-1", ({ state }) => state === "running");
    await node.restart(() => {
      process.kill(pid, "SIGTERM");
    });
    const { lastExit } = await node.until("web-1", (report) => report.lastExit !== undefined);
    assert.is(lastExit?.code, 143);
  });

  test("stops what is no longer wanted", async () => {
    await using node = await aNode();
    node.assign(ticking);
    await node.until("web-1", ({ state }) => state === "running");
    await node.restart();
    node.assign();
    await node.untilForgotten("web-1");
  });

  test("ends a container whose supervisor was killed, and starts it again", async () => {
    await using node = await aNode();
    node.assign(ticking);
    const before = await node.until("web-1", ({ state }) => state === "running");
    process.kill(supervisorPid(node), "SIGKILL");
    const after = await node.until(
      "web-1",
      ({ state, pid }) => state === "running" && pid !== before.pid,
    );
    assert.is(after.lastExit?.reason, "unknown");
    assert.is(after.restarts, 1);
  });

  test("does so as well when it happened between two lives", async () => {
    await using node = await aNode();
    node.assign(ticking);
    const before = await node.until("web-1", ({ state }) => state === "running");
    await node.restart(() => {
      process.kill(supervisorPid(node), "SIGKILL");
    });
    const after = await node.until(
      "web-1",
      ({ state, pid }) => state === "running" && pid !== before.pid,
    );
    assert.is(after.restarts, 1);
  });

  test("finishes a start that it finds half done", async () => {
    await using node = await aNode();
    node.assign(ticking);
    // The step under way ends with this life; what it had started goes on.
    await node.restart();
    const report = await node.until("web-1", ({ state }) => state === "running");
    assert.is(report.restarts, 0);
  });
});
