import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { readCgroupMounts } from "@strata/agent/cgroup/mounts";
import type { Assignment, Limits } from "@strata/protocol/agent/messages";

import { assert, suite } from "../../support/suite.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";

const MIB = 1024 ** 2;
const usual: Limits = { memoryMaxBytes: 64 * MIB, cpuMaxMillis: 1000, pidsMax: 64 };
const isLegacy = readCgroupMounts().legacy.has("memory");

/** The same process with other limits, as the controller says it. */
function resized(before: Assignment, limits: Partial<Limits>): Assignment {
  const { spec, fence, generation } = before;
  return {
    ...before,
    fence: fence + 1,
    generation: generation + 1,
    spec: { ...spec, limits: { ...spec.limits, ...limits } },
  };
}

type Started = { readonly pid: number; readonly box: (controller: string) => string };

/** Runs it, and says where its limits stand once it has written `word`. */
async function started(node: TestNode, assignment: Assignment, word: string): Promise<Started> {
  node.assign(assignment);
  const { pid } = await node.until("web-1", ({ state }) => state === "running");
  await untilLogged(node, word);
  return { pid: pid ?? 0, box: (controller) => boxOf(pid ?? 0, controller) };
}

async function untilLogged(node: TestNode, word: string): Promise<void> {
  while (!node.log("web-1").includes(`${word}\n`)) await soon();
}

async function soon(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20));
}

/** proc_pid_cgroup(7). */
function boxOf(pid: number, controller: string): string {
  const { legacy, unified } = readCgroupMounts();
  const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").split("\n");
  const wanted = isLegacy ? controller : "";
  const path = lines
    .map((line) => line.split(":"))
    .find(([, controllers = ""]) => controllers.split(",").includes(wanted))?.[2];
  return dirname(join((isLegacy ? legacy.get(controller) : unified) ?? "", path ?? ""));
}

const read = (group: string, name: string): string =>
  readFileSync(join(group, name), "utf8").trim();
const memoryMax = (group: string): number =>
  Number(read(group, isLegacy ? "memory.limit_in_bytes" : "memory.max"));

suite("new limits of a process that runs", (test) => {
  test("hold at once for memory, above and below, and the process goes on", async () => {
    await using node = await aNode();
    const script = `trap 'dd if=/dev/zero of=/dev/null bs=30M count=1 2>/dev/null; echo "more $?"' USR1
      dd if=/dev/zero of=/dev/shm/held bs=1M count=24 2>/dev/null
      echo held; while :; do sleep 0.05; done`;
    const first = anAssignment(script, { spec: { limits: usual, stopGraceMs: 0 } });
    const { pid, box } = await started(node, first, "held");

    const below = resized(first, { memoryMaxBytes: 40 * MIB });
    node.assign(below);
    await node.until("web-1", () => memoryMax(box("memory")) === 40 * MIB);
    process.kill(pid, "SIGUSR1");
    await untilLogged(node, "more 137");

    const above = resized(below, { memoryMaxBytes: 96 * MIB });
    node.assign(above);
    await node.until("web-1", () => memoryMax(box("memory")) === 96 * MIB);
    assert.ok(memoryMax(join(box("memory"), "c")) >= 96 * MIB);
    process.kill(pid, "SIGUSR1");
    await untilLogged(node, "more 0");
    assert.is(node.report("web-1")?.pid, pid);
    assert.is(node.report("web-1")?.restarts, 0);
  });

  test("are refused where it uses more, and it is neither killed nor forgotten", async () => {
    await using node = await aNode();
    const script = `trap 'rm /dev/shm/held; echo freed' USR1
      dd if=/dev/zero of=/dev/shm/held bs=1M count=24 2>/dev/null
      echo held; while :; do sleep 0.05; done`;
    const first = anAssignment(script, { spec: { limits: usual, stopGraceMs: 0 } });
    const { pid, box } = await started(node, first, "held");

    const below = resized(first, { memoryMaxBytes: 12 * MIB, pidsMax: 32 });
    node.assign(below);
    const refused = await node.until("web-1", ({ problem }) => problem !== undefined);
    assert.is(refused.problem?.code, "RESIZE_REFUSED");
    assert.match(refused.problem?.message ?? "", /more memory than the 12Mi/);
    assert.is(refused.state, "running");
    assert.ok(refused.ready);
    assert.is(memoryMax(box("memory")), 64 * MIB);
    assert.is(read(box("pids"), "pids.max"), "64");

    // Another wish is not made to wait for the next try of the one that was refused.
    node.assign(resized(below, { memoryMaxBytes: 48 * MIB }));
    const taken = await node.until("web-1", ({ problem }) => problem === undefined);
    assert.is(memoryMax(box("memory")), 48 * MIB);
    assert.is(read(box("pids"), "pids.max"), "32");
    assert.is(taken.pid, pid);

    // What is refused is tried again, until there is room for it.
    node.assign(resized(resized(below, {}), {}));
    await node.until("web-1", ({ problem }) => problem?.code === "RESIZE_REFUSED");
    process.kill(pid, "SIGUSR1");
    await untilLogged(node, "freed");
    await node.until("web-1", ({ problem }) => problem === undefined);
    assert.is(memoryMax(box("memory")), 12 * MIB);
    assert.is(node.report("web-1")?.pid, pid);
  });

  test("go back to what they were when the refused ones are no longer wanted", async () => {
    await using node = await aNode();
    const script = `dd if=/dev/zero of=/dev/shm/held bs=1M count=24 2>/dev/null; echo held; sleep 600`;
    const first = anAssignment(script, { spec: { limits: usual, stopGraceMs: 0 } });
    await started(node, first, "held");
    const below = resized(first, { memoryMaxBytes: 12 * MIB });
    node.assign(below);
    await node.until("web-1", ({ problem }) => problem !== undefined);
    node.assign(resized(below, { memoryMaxBytes: 64 * MIB }));
    const report = await node.until("web-1", ({ problem }) => problem === undefined);
    assert.is(report.state, "running");
  });

  test(
    "hold for processors and for the number of processes",
    async () => {
      await using node = await aNode();
      const script = `trap '(for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 30 & done); echo "forked $?"' USR1
      echo ready; while :; do :; done`;
      const wide = { ...usual, cpuMaxMillis: 64_000 };
      const first = anAssignment(script, { spec: { limits: wide, stopGraceMs: 0 } });
      const { pid, box } = await started(node, first, "ready");
      const throttled = (): number =>
        Number(/^nr_throttled (\d+)$/m.exec(read(box("cpu"), "cpu.stat"))?.[1]);
      assert.is(throttled(), 0);

      const slow = resized(first, { cpuMaxMillis: 100 });
      node.assign(slow);
      while (throttled() === 0) await soon();

      const narrow = resized(slow, { cpuMaxMillis: 2000, pidsMax: 8 });
      node.assign(narrow);
      await node.until("web-1", () => read(box("pids"), "pids.max") === "8");
      process.kill(pid, "SIGUSR1");
      await untilLogged(node, "forked 2");

      node.assign(resized(narrow, { pidsMax: 64 }));
      await node.until("web-1", () => read(box("pids"), "pids.max") === "64");
      process.kill(pid, "SIGUSR1");
      await untilLogged(node, "forked 0");
      assert.is(node.report("web-1")?.pid, pid);
    },
    { timeoutMs: 120_000 },
  );

  test("are made true by the next life of the agent", async () => {
    await using node = await aNode();
    const first = anAssignment("echo ready; sleep 600", {
      spec: { limits: usual, stopGraceMs: 0 },
    });
    const { pid, box } = await started(node, first, "ready");
    const next = resized(first, { memoryMaxBytes: 80 * MIB, swapMaxBytes: 16 * MIB });
    await node.restart();
    node.assign(next);
    await node.until("web-1", () => memoryMax(box("memory")) === 80 * MIB);
    await node.restart();
    assert.is(node.report("web-1")?.pid, pid);
    assert.is(memoryMax(box("memory")), 80 * MIB);
    const swap = isLegacy ? "memory.memsw.limit_in_bytes" : "memory.swap.max";
    if (existsSync(join(box("memory"), swap))) {
      const expected = isLegacy ? 96 * MIB + 4096 : 16 * MIB;
      assert.is(Number(read(box("memory"), swap)), expected);
    }
  });
});

suite("limits of the disk", (test) => {
  test("slow a process down until they are lifted, and what it read and wrote is counted", async () => {
    await using node = await aNode();
    const script = `(dd if=/dev/zero of=/root/data bs=16k count=64 oflag=direct 2>/dev/null; echo written) &
      for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 0.1; done
      echo waited; wait; sleep 600`;
    const io = { writeBytesPerSecond: 16 * 1024 };
    const first = anAssignment(script, { spec: { limits: { ...usual, io }, stopGraceMs: 0 } });
    const { pid } = await started(node, first, "waited");
    assert.not.match(node.log("web-1"), /written/);
    const { io: _, ...lifted } = usual;
    node.assign({ ...resized(first, {}), spec: { ...first.spec, limits: lifted } });
    await untilLogged(node, "written");
    while ((node.report("web-1")?.metrics?.ioWriteBytes ?? 0) < 64 * 16 * 1024) await soon();
    assert.is(node.report("web-1")?.pid, pid);
  });

  test("that are shares without effect are told of, and the process runs", async () => {
    await using node = await aNode();
    const limits = { ...usual, cpuWeight: 400, io: { weight: 500 } };
    const first = anAssignment("echo ready; sleep 600", { spec: { limits, stopGraceMs: 0 } });
    const { box } = await started(node, first, "ready");
    const share = isLegacy ? "cpu.shares" : "cpu.weight";
    assert.is(read(dirname(box("cpu")), share), isLegacy ? "4096" : "400");
    const problem = node.report("web-1")?.problem;
    // A disk under BFQ does share by weight.
    assert.ok(problem === undefined || problem.code === "LIMIT_UNSUPPORTED");
    assert.match(problem?.message ?? "io.weight", /io\.weight/);
  });
});
