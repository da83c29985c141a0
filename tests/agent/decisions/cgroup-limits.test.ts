import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { type Disk, findMountSource, formatDevice } from "@strata/agent/cgroup/disk";
import { createUnifiedCgroups } from "@strata/agent/cgroup/unified";

import { assert, rejectsWithCode, suite, throwsWithCode } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const limits = { memoryMaxBytes: 4096, cpuMaxMillis: 1500, pidsMax: 7 };
const disk: Disk = { number: "8:0", usesBfq: () => false };

/** A folder stands for the hierarchy; the kernel makes the files of each group that it has a controller for. */
function aHierarchy(path: string, ...optional: readonly string[]): string {
  const box = join(path, "strata/agent/web-1/box");
  mkdirSync(box, { recursive: true });
  for (const group of ["", "strata", "strata/agent", "strata/agent/web-1"]) {
    writeFileSync(join(path, group, "cgroup.subtree_control"), "memory cpu pids io");
  }
  for (const name of optional) writeFileSync(join(path, "strata/agent/web-1", name), "");
  return box;
}

suite("limits on cgroup v2", (test) => {
  test("of all kinds reach the kernel's files", async () => {
    await using folder = aTemporaryDirectory();
    const box = aHierarchy(folder.path, "box/io.max", "io.weight", "box/memory.swap.max");
    const cgroups = createUnifiedCgroups({ mount: folder.path, parent: "strata/agent", disk });
    cgroups.prepare("web-1", {
      ...limits,
      memoryHighBytes: 2048,
      swapMaxBytes: 8192,
      cpuWeight: 300,
      io: { weight: 50, readBytesPerSecond: 1000, writeOpsPerSecond: 20 },
    });
    const read = (name: string): string => readFileSync(join(box, name), "utf8");
    assert.is(read("memory.high"), "2048");
    assert.is(read("memory.swap.max"), "8192");
    assert.is(read("../cpu.weight"), "300");
    assert.is(read("../io.weight"), "default 50");
    assert.is(read("io.max"), "8:0 rbps=1000 wbps=max riops=max wiops=20");
  });

  test("go back to what they are without a wish when they are changed", async () => {
    await using folder = aTemporaryDirectory();
    const box = aHierarchy(folder.path, "box/io.max", "io.weight", "box/memory.swap.max");
    writeFileSync(join(box, "memory.current"), "100");
    const cgroups = createUnifiedCgroups({ mount: folder.path, parent: "strata/agent", disk });
    const io = { weight: 50, readBytesPerSecond: 1000 };
    cgroups.prepare("web-1", { ...limits, memoryHighBytes: 1, swapMaxBytes: 1, cpuWeight: 1, io });
    await cgroups.resize("web-1", limits);
    const read = (name: string): string => readFileSync(join(box, name), "utf8");
    assert.is(read("memory.high"), "max");
    assert.is(read("memory.swap.max"), "0");
    assert.is(read("../cpu.weight"), "100");
    assert.is(read("../io.weight"), "default 100");
    assert.is(read("io.max"), "8:0 rbps=max wbps=max riops=max wiops=max");
  });

  test("below what is in use change nothing, as the kernel would kill for them", async () => {
    await using folder = aTemporaryDirectory();
    const box = aHierarchy(folder.path);
    const cgroups = createUnifiedCgroups({ mount: folder.path, parent: "strata/agent", disk });
    cgroups.prepare("web-1", limits);
    writeFileSync(join(box, "memory.current"), "4000");
    const lower = { ...limits, memoryMaxBytes: 2048, pidsMax: 3 };
    await rejectsWithCode(cgroups.resize("web-1", lower), "RESIZE_REFUSED");
    assert.is(readFileSync(join(box, "memory.max"), "utf8"), "4096");
    assert.is(readFileSync(join(box, "pids.max"), "utf8"), "7");
  });

  test("that the host cannot hold fail the start, and shares only say so", async () => {
    await using folder = aTemporaryDirectory();
    aHierarchy(folder.path);
    const cgroups = createUnifiedCgroups({ mount: folder.path, parent: "strata/agent", disk });
    const prepare = (more: object) => () => cgroups.prepare("web-1", { ...limits, ...more });
    throwsWithCode(prepare({ swapMaxBytes: 1 }), "LIMIT_UNSUPPORTED");
    throwsWithCode(prepare({ io: { readOpsPerSecond: 1 } }), "LIMIT_UNSUPPORTED");
    prepare({ swapMaxBytes: 0, io: { weight: 200 } })();
    assert.match(
      cgroups.describeShortfall({ ...limits, io: { weight: 200 } }) ?? "",
      /io\.weight 200 has no effect/,
    );
    writeFileSync(join(folder.path, "io.cost.qos"), "8:0 enable=1 ctrl=auto\n");
    assert.is(cgroups.describeShortfall({ ...limits, io: { weight: 200 } }), undefined);
    assert.is(cgroups.describeShortfall({ ...limits, cpuWeight: 200 }), undefined);
  });

  test("come with counters of the disk, of kills and of pressure", async () => {
    await using folder = aTemporaryDirectory();
    const box = aHierarchy(folder.path);
    const cgroups = createUnifiedCgroups({ mount: folder.path, parent: "strata/agent", disk });
    assert.equal(cgroups.readCounters("web-1"), {});
    writeFileSync(join(box, "io.stat"), "253:0 rbytes=9 wbytes=9\n8:0 rbytes=5 wbytes=7 rios=1\n");
    writeFileSync(join(box, "memory.events"), "oom 4\noom_kill 2\noom_group_kill 0\n");
    const some = "some avg10=1.50 avg60=0.00 avg300=0.00 total=1\n";
    writeFileSync(join(box, "cpu.pressure"), some);
    for (const name of ["memory", "io"]) {
      writeFileSync(join(box, `${name}.pressure`), `${some}full avg10=0.25 avg60=0.00 total=1\n`);
    }
    assert.equal(cgroups.readCounters("web-1"), {
      ioReadBytes: 5,
      ioWriteBytes: 7,
      oomKills: 2,
      pressure: { cpuSome: 1.5, memorySome: 1.5, memoryFull: 0.25, ioSome: 1.5, ioFull: 0.25 },
    });
  });
});

suite("the disk under a folder", (test) => {
  test("is that of the innermost mount, when it is a device", () => {
    const mountinfo = [
      "27 1 254:0 / / rw - ext4 /dev/vda rw",
      "31 27 0:40 / /var/lib rw - btrfs /dev/sdb1 rw",
      "32 27 0:41 / /var/lib/strata rw - tmpfs tmpfs rw",
    ].join("\n");
    assert.is(findMountSource(mountinfo, "/srv"), "/dev/vda");
    assert.is(findMountSource(mountinfo, "/var/lib/other"), "/dev/sdb1");
    assert.is(findMountSource(mountinfo, "/var/lib/strata/agent"), undefined);
    assert.is(findMountSource(mountinfo, "/var/library"), "/dev/vda");
  });

  test("has a number of more than eight bits on each side", () => {
    assert.is(formatDevice(0xfe00), "254:0");
    assert.is(formatDevice(0x10_0801), "8:257");
    assert.is(formatDevice(2 ** 44 + 0x801), "4104:1");
  });
});
