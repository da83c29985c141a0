import { existsSync } from "node:fs";

import { openCgroups } from "@strata/agent/cgroup/open-cgroups";
import { agentPaths, processPaths } from "@strata/agent/paths";

import { assert, suite } from "../../support/suite.ts";
import { aNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";

const untilStopped = "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.05; done";

suite("the life of a process", (test) => {
  test("runs what is assigned, and stops it by its signal", async () => {
    await using node = await aNode();
    node.assign(anAssignment(untilStopped));
    const running = await node.until("web-1", ({ state }) => state === "running");
    assert.ok(running.ready);
    assert.ok((running.pid ?? 0) > 1);
    assert.is(running.restarts, 0);

    node.assign(anAssignment(untilStopped, { desired: "stopped", fence: 2 }));
    const stopped = await node.until("web-1", ({ state }) => state === "stopped");
    assert.is(stopped.lastExit?.code, 0);
    assert.is(stopped.lastExit?.reason, "exited");
    assert.is(node.log("web-1"), "hello\nbye\n");
  });

  test("kills what does not stop within the grace period", async () => {
    await using node = await aNode();
    const spec = { stopGraceMs: 100 };
    const script = "trap '' TERM; while :; do sleep 0.05; done";
    node.assign(anAssignment(script, { spec }));
    await node.until("web-1", ({ state }) => state === "running");
    node.assign(anAssignment(script, { spec, desired: "stopped", fence: 2 }));
    const { lastExit } = await node.until("web-1", ({ state }) => state === "stopped");
    assert.is(lastExit?.code, 137);
    assert.is(lastExit?.reason, "signaled");
  });

  test("stops by the signal that the image names", async () => {
    await using node = await aNode({ config: { StopSignal: "SIGQUIT" } });
    const script = "trap 'exit 9' QUIT; while :; do sleep 0.05; done";
    node.assign(anAssignment(script));
    await node.until("web-1", ({ state }) => state === "running");
    node.assign(anAssignment(script, { desired: "stopped", fence: 2 }));
    const { lastExit } = await node.until("web-1", ({ state }) => state === "stopped");
    assert.is(lastExit?.code, 9);
  });

  test("forgets what is no longer assigned, and leaves nothing of it", async () => {
    await using node = await aNode();
    node.assign(anAssignment(untilStopped));
    await node.until("web-1", ({ state }) => state === "running");
    node.assign();
    await node.untilForgotten("web-1");
    const paths = processPaths(agentPaths(node.config), "web-1");
    assert.not.ok(existsSync(paths.folder));
    assert.not.ok(existsSync(paths.run));
    assert.equal(node.runtime().services.start.cgroups.listProcessIds(), []);
  });

  test("reports the exit code of a crash and starts again", async () => {
    await using node = await aNode();
    node.assign(anAssignment("echo run; exit 7", { spec: { stopGraceMs: 0 } }));
    const report = await node.until("web-1", ({ restarts }) => restarts >= 2);
    assert.is(report.lastExit?.code, 7);
    assert.is(report.lastExit?.reason, "exited");
    assert.match(node.log("web-1"), /^run\nrun\n/);
  });

  test("waits after the third restart, and says so", async () => {
    await using node = await aNode();
    node.assign(anAssignment("exit 3"));
    const report = await node.until(
      "web-1",
      ({ problem }) => problem?.message.endsWith("in 30 s") === true,
    );
    assert.is(report.state, "starting");
    assert.is(report.problem?.code, "CRASHED");
    assert.is(report.restarts, 3);
  });

  test("names the signal that ended a run", async () => {
    await using node = await aNode();
    node.assign(anAssignment("kill -SEGV $$"));
    const { lastExit } = await node.until("web-1", (report) => report.lastExit !== undefined);
    assert.is(lastExit?.code, 139);
    assert.is(lastExit?.reason, "signaled");
  });

  test("recognizes that the memory limit ended a run", async () => {
    await using node = await aNode();
    const limits = { memoryMaxBytes: 16 * 1024 ** 2, cpuMaxMillis: 1000, pidsMax: 32 };
    // The shell stays; it is the one process, so the kernel's choice is clear.
    node.assign(
      anAssignment("", {
        spec: { limits, command: ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M"] },
      }),
    );
    const { lastExit } = await node.until("web-1", (report) => report.lastExit !== undefined);
    assert.is(lastExit?.reason, "out-of-memory");
    assert.is(lastExit?.code, 137);
  });

  test("holds the number of processes to its limit, and ends what a crash leaves behind", async () => {
    await using node = await aNode();
    const limits = { memoryMaxBytes: 64 * 1024 ** 2, cpuMaxMillis: 1000, pidsMax: 8 };
    const script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 100 & done; sleep 100";
    node.assign(anAssignment(script, { spec: { limits, stopGraceMs: 0 } }));
    const { lastExit } = await node.until("web-1", (report) => report.lastExit !== undefined);
    assert.is(lastExit?.code, 2);
    assert.match(node.log("web-1"), /can't fork/);
  });

  test("restarts a process whose spec has changed", async () => {
    await using node = await aNode();
    node.assign(anAssignment("echo one; sleep 600", { spec: { stopGraceMs: 0 } }));
    const before = await node.until("web-1", ({ state }) => state === "running");
    node.assign(
      anAssignment("echo two; sleep 600", { fence: 2, generation: 2, spec: { stopGraceMs: 0 } }),
    );
    await node.until("web-1", ({ state, pid }) => state === "running" && pid !== before.pid);
    await node.until("web-1", () => node.log("web-1").endsWith("two\n"));
  });

  test("does not start what should have started earlier", async () => {
    await using node = await aNode();
    node.assign(anAssignment("sleep 600", { startDeadline: "2001-01-01T00:00:00Z" }));
    const report = await node.until("web-1", ({ state }) => state === "failed");
    assert.is(report.problem?.code, "START_DEADLINE_PASSED");
  });

  test("starts many at once, no more than the limit at a time", async () => {
    await using node = await aNode({ environment: { STRATA_STARTS_MAX: "3" } });
    const ids = Array.from({ length: 9 }, (_, index) => `web-${index}`);
    node.assign(
      ...ids.map((processId) => anAssignment("sleep 600", { processId, spec: { stopGraceMs: 0 } })),
    );
    const reports = await Promise.all(
      ids.map((processId) => node.until(processId, ({ state }) => state === "running")),
    );
    assert.is(new Set(reports.map(({ address }) => address)).size, 9);
  });

  test("gives back every control group when the node is torn down", async () => {
    {
      await using node = await aNode();
      node.assign(anAssignment("sleep 600", { spec: { stopGraceMs: 0 } }));
      await node.until("web-1", ({ state }) => state === "running");
    }
    assert.equal(openCgroups("test-none").listProcessIds(), []);
  });
});
