import { readFileSync } from "node:fs";
import { join } from "node:path";

import { readCgroupMounts } from "@strata/agent/cgroup/mounts";

import { assert, suite } from "../../support/suite.ts";
import { aNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";

/** Microseconds of processor time in each 100 ms that the kernel gives the box around this process's container. */
function readQuotaUs(pid: number): number {
  const { legacy, unified } = readCgroupMounts();
  const groups = readFileSync(`/proc/${pid}/cgroup`, "utf8").split("\n");
  const isLegacy = legacy.has("cpu");
  const line = groups.find((group) => (isLegacy ? /^\d+:(.*,)?cpu(,.*)?:/ : /^0::/).test(group));
  const group = join((isLegacy ? legacy.get("cpu") : unified) ?? "", line?.split(":")[2] ?? "");
  const name = isLegacy ? "cpu.cfs_quota_us" : "cpu.max";
  return Number.parseInt(readFileSync(join(group, "..", name), "utf8"), 10);
}

suite("a process with a small share of a processor", (test) => {
  test("has no more than that once it runs, also after another life of the agent", async () => {
    await using node = await aNode();
    const limits = { memoryMaxBytes: 64 * 1024 ** 2, cpuMaxMillis: 50, pidsMax: 64 };
    node.assign(anAssignment("sleep 1000", { spec: { limits, stopGraceMs: 0 } }));
    const { pid = 0 } = await node.until("web-1", ({ state }) => state === "running");
    assert.is(readQuotaUs(pid), 5000);
    await node.restart();
    await node.until("web-1", ({ state }) => state === "running");
    assert.is(readQuotaUs(pid), 5000);
  });

  test("has all of a larger share from the start", async () => {
    await using node = await aNode();
    const limits = { memoryMaxBytes: 64 * 1024 ** 2, cpuMaxMillis: 1500, pidsMax: 64 };
    node.assign(anAssignment("sleep 1000", { spec: { limits, stopGraceMs: 0 } }));
    const { pid = 0 } = await node.until("web-1", ({ state }) => state === "running");
    assert.is(readQuotaUs(pid), 150_000);
  });
});
