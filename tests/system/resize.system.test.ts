/** Limits of a cartridge that change while it runs, from the API down to the kernel. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { readCgroupMounts } from "@strata/agent/cgroup/mounts";
import { ExecResult, listOf, Node, type Process } from "@strata/protocol/api/resources";

import {
  aRunningInstance,
  mustBecome,
  pageOf,
  type RunningInstance,
  urlOf,
} from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";

const MIB = 1024 ** 2;

async function put({ mustCall }: RunningInstance, alias: string, resources: object): Promise<void> {
  const body = { cartridge: "hello", processes: 1, resources };
  await mustCall("PUT", `/v1/subscriptions/${alias}`, body);
}

async function theProcess({ readyProcesses }: RunningInstance, alias: string): Promise<Process> {
  const [process] = await readyProcesses(alias, 1);
  if (process === undefined) throw new Error(`${alias} has no process`);
  return process;
}

/** The memory limit that holds for a process of this host. */
function memoryLimitOf(pid: number): number {
  const { legacy, unified } = readCgroupMounts();
  const mount = legacy.get("memory") ?? unified ?? "";
  const isLegacy = legacy.has("memory");
  const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").split("\n");
  const line = lines.find((text) => text.includes(isLegacy ? ":memory:" : "0::")) ?? "";
  const box = dirname(join(mount, line.split(":")[2] ?? ""));
  const name = isLegacy ? "memory.limit_in_bytes" : "memory.max";
  return Number(readFileSync(join(box, name), "utf8"));
}

async function runsOutOfMemory({ mustCall }: RunningInstance, id: string): Promise<boolean> {
  const line = "/bin/busybox dd if=/dev/zero of=/dev/null bs=80M count=1; exit $?";
  const command = ["/bin/sh", "-c", line];
  const answer = await mustCall("POST", `/v1/processes/${id}/exec`, { command });
  return ExecResult.parse(answer).exitCode === 137;
}

suite("resources of a subscription that are changed", (test) => {
  test("hold for the process that runs, and one that outgrows its node is replaced", async () => {
    await using strata = await aRunningInstance();
    await put(strata, "web", { memory: "64Mi", cpu: 0.5 });
    const before = await theProcess(strata, "web");
    assert.ok(await runsOutOfMemory(strata, before.id));

    await put(strata, "web", { memory: "128Mi", cpu: 1, pids: 100 });
    const pid = before.pid ?? 0;
    await mustBecome("the limit is another", async () =>
      memoryLimitOf(pid) === 128 * MIB ? true : undefined,
    );
    assert.not.ok(await runsOutOfMemory(strata, before.id));
    const after = await theProcess(strata, "web");
    assert.is(after.id, before.id);
    assert.is(after.pid, before.pid);
    assert.is(after.restarts, 0);
    assert.is(after.startedAt, before.startedAt);
    assert.ok(after.generation > before.generation);
    assert.match(await pageOf(urlOf(after)), after.id);

    // All of the node but what runs and 64 MiB is promised to another.
    const [node] = listOf(Node).parse(await strata.mustCall("GET", "/v1/nodes")).items;
    const free = (node?.capacity.memoryBytes ?? 0) - (node?.allocated.memoryBytes ?? 0);
    await put(strata, "filler", { memory: Math.floor(free / MIB - 64) * MIB, cpu: 0.5 });
    await theProcess(strata, "filler");
    await put(strata, "web", { memory: "160Mi", cpu: 1, pids: 100 });
    await mustBecome("there is room for 32 MiB more", async () =>
      memoryLimitOf(pid) === 160 * MIB ? true : undefined,
    );
    await put(strata, "web", { memory: "256Mi", cpu: 1, pids: 100 });
    const replacement = await mustBecome("it is replaced", async () => {
      const all = await strata.processes("web");
      return all.find((one) => one.id !== before.id);
    });
    assert.is(replacement.restarts, 0);
  });
});
