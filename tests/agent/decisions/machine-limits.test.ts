import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { readMachineLimits } from "@strata/agent/cgroup/machine-limits";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const none = Number.POSITIVE_INFINITY;

/** Writes files, and says where each hierarchy of cgroup v1 would be mounted. */
function aTree(folder: string, files: Readonly<Record<string, string>>): Map<string, string> {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, path, ".."), { recursive: true });
    writeFileSync(join(folder, path), `${text}\n`);
  }
  return new Map(["memory", "cpu", "pids"].map((name) => [name, join(folder, name)]));
}

suite("the limits of a machine", (test) => {
  test("are those of the container that it is, on cgroup v2", async () => {
    await using folder = aTemporaryDirectory();
    const files = { "memory.max": "536870912", "cpu.max": "150000 100000", "pids.max": "400" };
    aTree(folder.path, files);
    assert.equal(readMachineLimits({ legacy: new Map(), unified: folder.path }), {
      cpuMillis: 1500,
      memoryBytes: 536_870_912,
      pids: 400,
    });
  });

  test("are those of the container that it is, on cgroup v1, beside an empty v2", async () => {
    await using folder = aTemporaryDirectory();
    const legacy = aTree(folder.path, {
      "memory/memory.limit_in_bytes": "1073741824",
      "cpu/cpu.cfs_quota_us": "50000",
      "cpu/cpu.cfs_period_us": "100000",
      "pids/pids.max": "max",
    });
    assert.equal(readMachineLimits({ legacy, unified: folder.path }), {
      cpuMillis: 500,
      memoryBytes: 1_073_741_824,
      pids: none,
    });
  });

  test("are none where the container has none", async () => {
    await using folder = aTemporaryDirectory();
    aTree(folder.path, { "memory.max": "max", "cpu.max": "max 100000", "pids.max": "max" });
    assert.equal(readMachineLimits({ legacy: new Map(), unified: folder.path }), {
      cpuMillis: none,
      memoryBytes: none,
      pids: none,
    });
    const legacy = aTree(folder.path, {
      "cpu/cpu.cfs_quota_us": "-1",
      "cpu/cpu.cfs_period_us": "100000",
    });
    assert.is(readMachineLimits({ legacy, unified: undefined }).cpuMillis, none);
  });

  test("are none on a machine of its own, whose root group has no such files", async () => {
    await using folder = aTemporaryDirectory();
    assert.equal(readMachineLimits({ legacy: new Map(), unified: folder.path }), {
      cpuMillis: none,
      memoryBytes: none,
      pids: none,
    });
  });
});
