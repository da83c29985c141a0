/** How runs end, and what is told of it: on real containers. */
import { readdirSync, readFileSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { readOptionalFile } from "@strata/agent/durable-file";
import { getParentPid, isAlive, identifyProcess } from "@strata/agent/host/process-table";
import { agentPaths, processPaths } from "@strata/agent/paths";
import type { Exit } from "@strata/protocol/agent/messages";

import { aSmallDisk } from "../../support/small-disk.ts";
import { assert, suite } from "../../support/suite.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";

const LOOK_MS = 20;
const limits = { memoryMaxBytes: 24 * 1024 ** 2, cpuMaxMillis: 1000, pidsMax: 32 };
/** Says when it is ready; ends as its signals tell it to. */
const waiting = "while :; do sleep 3600 & wait $!; done";
const obliging = [
  "trap 'exit 7' USR1; trap 'exit 255' USR2; trap 'exit 0' TERM",
  "trap 'exec dd if=/dev/zero of=/dev/null bs=64M' HUP",
  "echo ready",
  waiting,
].join("; ");

/** Resolves with the pid of the application once it runs and has written this. The test's deadline bounds the wait. */
async function untilLogged(node: TestNode, processId: string, text: string): Promise<number> {
  const { pid = 0 } = await node.until(processId, ({ state }) => state === "running");
  const path = processPaths(agentPaths(node.config), processId).log;
  while (!(readOptionalFile(path) ?? "").includes(text)) await delay(LOOK_MS);
  return pid;
}

type Case = readonly [signal: NodeJS.Signals, ...exit: [Exit["code"], Exit["reason"]]];
const cases: readonly Case[] = [
  ["SIGUSR1", 7, "exited"],
  ["SIGUSR2", 255, "exited"],
  ["SIGTERM", 0, "exited"],
  ["SIGKILL", 137, "signaled"],
  ["SIGSEGV", 139, "signaled"],
  ["SIGHUP", 137, "out-of-memory"],
];
const ids = cases.map(([signal]) => signal.toLowerCase());

/** A process for each case, all ready. Gives the pids of their applications. */
async function aProcessForEach(node: TestNode): Promise<readonly number[]> {
  node.assign(...ids.map((processId) => anAssignment(obliging, { processId, spec: { limits } })));
  return await Promise.all(ids.map((processId) => untilLogged(node, processId, "ready")));
}

async function assertEnds(node: TestNode): Promise<void> {
  for (const [signal, code, reason] of cases) {
    const id = signal.toLowerCase();
    const { lastExit } = await node.until(id, ({ restarts }) => restarts === 1);
    assert.equal([signal, lastExit?.code, lastExit?.reason], [signal, code, reason]);
  }
}

function endAll(pids: readonly number[]): void {
  cases.forEach(([signal], index) => process.kill(pids[index] ?? 0, signal));
}

function recordPath(node: TestNode): string {
  return processPaths(agentPaths(node.config), "web-1").record;
}

suite("the end of an application", (test) => {
  test("is told with its code, its signal or the want of memory", async () => {
    await using node = await aNode();
    endAll(await aProcessForEach(node));
    await assertEnds(node);
  });

  test("is told as well when nobody was there", async () => {
    await using node = await aNode();
    const pids = await aProcessForEach(node);
    await node.restart(() => endAll(pids));
    await assertEnds(node);
  });

  test("by a KILL is no want of memory, though a child had ended by that before", async () => {
    await using node = await aNode();
    const script = `dd if=/dev/zero of=/dev/null bs=64M; echo ready; ${waiting}`;
    node.assign(anAssignment(script, { spec: { limits } }));
    const pid = await untilLogged(node, "web-1", "ready");
    assert.ok(node.runtime().services.start.cgroups.wasOutOfMemory("web-1"));
    process.kill(pid, "SIGKILL");
    const { lastExit } = await node.until("web-1", (report) => report.lastExit !== undefined);
    assert.equal([lastExit?.code, lastExit?.reason], [137, "signaled"]);
  });

  test("is known once it is known, even if the agent ends before all is cleared away", async () => {
    await using node = await aNode();
    node.assign(anAssignment(obliging));
    await untilLogged(node, "web-1", "ready");
    const exit = { code: 7, reason: "exited", at: "2026-01-01T00:00:00Z" };
    await node.restart(() => {
      const record = JSON.parse(readFileSync(recordPath(node), "utf8"));
      process.kill(record.run.application.pid, "SIGKILL");
      writeFileSync(recordPath(node), JSON.stringify({ ...record, run: { ...record.run, exit } }));
    });
    const { lastExit } = await node.until("web-1", ({ restarts }) => restarts === 1);
    assert.equal(lastExit, exit);
  });

  test("takes with it what LXC keeps of a container whose monitor was killed", async () => {
    await using node = await aNode();
    node.assign(anAssignment(obliging));
    const before = await node.until("web-1", ({ state }) => state === "running");
    const { cgroups } = node.runtime().services.start;
    const init = getParentPid(before.pid ?? 0) ?? 0;
    process.kill(getParentPid(init) ?? 0, "SIGKILL");
    const after = await node.until("web-1", ({ restarts }) => restarts === 1);
    assert.is.not(after.pid, before.pid);
    assert.equal(cgroups.listProcessIds(), ["web-1"]);
    assert.not.ok(isAlive({ pid: init, startTicks: identifyProcess(init)?.startTicks ?? 0 }));
  });
});

suite("an application that ends again and again", (test) => {
  test("is held back, and leaves nothing in between", async () => {
    await using node = await aNode();
    const { paths, cgroups } = node.runtime().services.start;
    node.assign(anAssignment("sleep 100 & exit 1"));
    await node.until("web-1", ({ problem }) => problem?.message.endsWith("in 30 s") === true);
    assert.equal(cgroups.listProcessIds(), []);
    assert.equal(readdirSync(paths.runs), []);
    assert.equal(readdirSync(paths.processes), ["web-1"]);
    assert.equal(readdirSync(processPaths(paths, "web-1").folder).toSorted(), [
      "log",
      "record.json",
    ]);
  });
});

suite("a command that is not there", (test) => {
  test("fails for good, and is named", async () => {
    await using node = await aNode();
    node.assign(anAssignment("", { spec: { command: ["/no/such/program"] } }));
    const { problem } = await node.until("web-1", ({ state }) => state === "failed");
    assert.is(problem?.code, "COMMAND_MISSING");
    assert.match(problem?.message ?? "", "/no/such/program");
  });
});

suite("a stop", (test) => {
  const stubborn = "trap '' TERM; echo ready; while :; do sleep 3600; done";
  const patient = { stopGraceMs: 3_600_000 };

  async function aStubbornProcess(): Promise<TestNode> {
    const node = await aNode();
    node.assign(anAssignment(stubborn, { spec: patient }));
    await untilLogged(node, "web-1", "ready");
    node.assign(anAssignment(stubborn, { desired: "stopped", fence: 2, spec: patient }));
    await node.until("web-1", ({ state }) => state === "draining");
    return node;
  }

  test("is cut short by a newer wish with less patience", async () => {
    await using node = await aStubbornProcess();
    node.assign(anAssignment(stubborn, { desired: "stopped", fence: 3, spec: { stopGraceMs: 0 } }));
    const { lastExit } = await node.until("web-1", ({ state }) => state === "stopped");
    assert.equal([lastExit?.code, lastExit?.reason], [137, "signaled"]);
  });

  test("has a kill of its own told as such by the next life of the agent", async () => {
    await using node = await aNode();
    node.assign(anAssignment(obliging));
    const pid = await untilLogged(node, "web-1", "ready");
    await node.restart(() => {
      const record = JSON.parse(readFileSync(recordPath(node), "utf8"));
      const run = { ...record.run, isKilled: true };
      writeFileSync(recordPath(node), JSON.stringify({ ...record, run }));
      // As the agent does it: with pid 1 of the container all of it ends.
      process.kill(getParentPid(pid) ?? 0, "SIGKILL");
    });
    const { lastExit } = await node.until("web-1", ({ restarts }) => restarts === 1);
    assert.equal([lastExit?.code, lastExit?.reason], [137, "signaled"]);
  });
});

suite("the state of an earlier boot", (test) => {
  test("names no process of this one", async () => {
    await using node = await aNode();
    node.assign(anAssignment(obliging));
    const before = await node.until("web-1", ({ state }) => state === "running");
    const stranger = identifyProcess(process.ppid);
    await node.restart(() => {
      const record = JSON.parse(readFileSync(recordPath(node), "utf8"));
      const run = { ...record.run, bootId: "an-earlier-one", application: stranger };
      writeFileSync(recordPath(node), JSON.stringify({ ...record, run }));
    });
    const after = await node.until(
      "web-1",
      ({ state, restarts }) => state === "running" && restarts === 1,
    );
    assert.is.not(after.pid, before.pid);
    assert.is.not(after.pid, stranger?.pid);
    assert.ok(stranger !== undefined && isAlive(stranger));
  });
});

suite("a clock that jumps by an hour at every look", (test) => {
  for (const [name, stepMs] of [
    ["ahead", 3_600_000],
    ["back", -3_600_000],
  ] as const) {
    test(`${name} keeps nothing from starting, ending and stopping`, async () => {
      let looks = 0;
      const clock = (): number => Date.UTC(2026, 5) + stepMs * (looks += 1);
      await using node = await aNode({ clock });
      node.assign(anAssignment(obliging));
      const pid = await untilLogged(node, "web-1", "ready");
      process.kill(pid, "SIGUSR1");
      const again = await node.until(
        "web-1",
        ({ state, restarts }) => state === "running" && restarts === 1,
      );
      assert.is(again.lastExit?.code, 7);
      node.assign();
      await node.untilForgotten("web-1");
    });
  }
});

suite("a process that fills the node's disk", (test) => {
  test("is stopped and forgotten all the same, and the next one starts", async () => {
    await using disk = aSmallDisk(48 * 1024 ** 2);
    await using node = await aNode({ environment: { STRATA_DATA: join(disk.path, "data") } });
    const script = `while :; do dd if=/dev/zero of=/tmp/$((i+=1)) bs=64k; done`;
    const big = { ...limits, memoryMaxBytes: 256 * 1024 ** 2 };
    node.assign(anAssignment(script, { spec: { limits: big, stopGraceMs: 0 } }));
    await node.until("web-1", ({ state }) => state === "running");
    while (statfsSync(disk.path).bavail > 0) await delay(LOOK_MS);
    node.assign();
    await node.untilForgotten("web-1");
    node.assign(anAssignment(obliging, { processId: "web-2" }));
    await untilLogged(node, "web-2", "ready");
  });
});
