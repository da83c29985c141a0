import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { readProcFile } from "@strata/agent/host/process-table";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aTar, dir, file, hardlink, symlink } from "../layer/tar-builder.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";
import { anExec } from "../support/exec-connection.ts";
import { aStream, type StreamEnd } from "../support/stream-connection.ts";

async function aRunningProcess(script: string): Promise<TestNode> {
  const node = await aNode();
  node.assign(anAssignment(script, { spec: { stopGraceMs: 0 } }));
  await node.until("web-1", ({ state }) => state === "running");
  return node;
}

const target = { id: "copy-1", processId: "web-1" } as const;

type Copied = { readonly output: Buffer; readonly end: StreamEnd | undefined };

function copyOut(node: TestNode, path: string): Promise<Copied> {
  return aStream(node, { ...target, kind: "copyOut", path }).result;
}

async function copyIn(node: TestNode, path: string, archive: Buffer): Promise<Copied> {
  const stream = aStream(node, { ...target, kind: "copyIn", path });
  await stream.send("stdin", archive);
  await stream.send("stdinEnd");
  return await stream.result;
}

async function inside(node: TestNode, script: string): Promise<string> {
  return (await anExec(node, { command: ["sh", "-c", script] }).result).stdout;
}

/** Host pids of perl in the process's groups: the helpers at work. */
function helpersOf(node: TestNode): readonly number[] {
  const { cgroups } = node.runtime().services.start;
  return cgroups
    .listAllPids("web-1")
    .filter((pid) => readProcFile(`/proc/${pid}/comm`) === "perl\n");
}

suite("copying with a hostile container", (test) => {
  test("reaches nothing of the host while folders become links and back", async () => {
    await using folder = aTemporaryDirectory();
    const host = join(folder.path, "host");
    mkdirSync(host, { mode: 0o777 });
    writeFileSync(join(host, "f"), "SECRET-OF-THE-HOST");
    await using node = await aRunningProcess(
      `mkdir -p /tmp/t; cd /tmp/t; while :; do
         mkdir d; echo mine >d/f; rm -r d; busybox ln -s ${host} d; rm d; busybox ln -s ../../../../../..${host} d; rm d;
       done`,
    );
    const archive = aTar([
      dir("d/"),
      file("d/f", "EVIL"),
      symlink("d/l", host),
      file("d/l/g", "EVIL"),
    ]);
    for (let round = 0; round < 25; round += 1) {
      const [out] = await Promise.all([
        copyOut(node, "/tmp/t"),
        copyOut(node, "/tmp/t/d/f"),
        copyIn(node, "/tmp/t", archive),
        copyIn(node, "/tmp/t/d", aTar([file("f", "EVIL")])),
      ]);
      assert.not.ok(out.output.includes("SECRET-OF-THE-HOST"));
    }
    assert.equal(readdirSync(host), ["f"]);
    assert.is(readFileSync(join(host, "f"), "utf8"), "SECRET-OF-THE-HOST");
  });

  test("is done by a helper with few rights that the container does not see", async () => {
    await using node = await aRunningProcess("exec sleep 600");
    const pid = node.report("web-1")?.pid ?? 0;
    const stream = aStream(node, { ...target, kind: "copyIn", path: "/tmp" });
    // The first file is there, so the helper is inside and waits for more.
    const [begin] = [aTar([file("begun", "x")]).subarray(0, 1024)];
    await stream.send("stdin", begin);
    while ((await inside(node, "ls /tmp")).trim() !== "begun");
    const [helper = 0, ...more] = helpersOf(node);
    assert.is(more.length, 0);
    const status = readFileSync(`/proc/${helper}/status`, "utf8");
    assert.match(status, /^CapEff:\t000000000000001f$/m);
    assert.match(status, /^CapPrm:\t000000000000001f$/m);
    assert.match(status, /^NoNewPrivs:\t1$/m);
    const root = /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    assert.match(status, new RegExp(`^Uid:\t${root}\t${root}\t${root}\t${root}$`, "m"));
    for (const name of ["mnt", "user", "net", "uts", "ipc", "cgroup"])
      assert.is(
        readlinkSync(`/proc/${helper}/ns/${name}`),
        readlinkSync(`/proc/${pid}/ns/${name}`),
      );
    assert.is.not(readlinkSync(`/proc/${helper}/ns/pid`), readlinkSync(`/proc/${pid}/ns/pid`));
    assert.not.match(await inside(node, "cat /proc/[0-9]*/comm"), "perl");
    stream.hangUp();
    await stream.result.catch(() => undefined);
    assert.equal(helpersOf(node), []);
  });

  test("ends with its container, and leaves nothing that runs", async () => {
    await using node = await aRunningProcess("exec sleep 600");
    const stream = aStream(node, { ...target, kind: "copyIn", path: "/tmp" });
    await stream.send("stdin", aTar([file("begun", "x")]).subarray(0, 1024));
    while ((await inside(node, "ls /tmp")).trim() !== "begun");
    node.assign();
    await node.untilForgotten("web-1");
    const { end } = await stream.result;
    assert.is(end?.type, "error");
  });

  test("waits for no fifo and no device, wherever they come from", async () => {
    await using node = await aRunningProcess(
      "mkdir -p /tmp/t; cd /tmp/t; while :; do busybox mkfifo p; rm p; echo x >p; rm p; done",
    );
    for (let round = 0; round < 25; round += 1) {
      const { end } = await copyOut(node, "/tmp/t");
      assert.equal(end, { type: "exit", code: 0 });
    }
    const devices = await copyOut(node, "/dev");
    assert.equal(devices.end, { type: "exit", code: 0 });
  });

  test("refuses or takes any damaged archive, and leaves nothing half done", async () => {
    await using node = await aRunningProcess("exec sleep 600");
    const whole = aTar([
      dir("a/"),
      file("a/f", "x".repeat(700)),
      file("x", "y", { pax: { path: "a/pax-name", mtime: "1.5" } }),
      file("x", "z", { format: "gnu", longName: "a/".repeat(60) + "long" }),
      symlink("a/l", "f"),
      hardlink("a/h", "a/f"),
    ]);
    const damage = fc.array(fc.record({ at: fc.nat(whole.length - 1), byte: fc.nat(255) }), {
      maxLength: 6,
    });
    const known = ["ARCHIVE_INVALID", "PATH_UNUSABLE", "PATH_NOT_FOUND"];
    await fc.assert(
      fc.asyncProperty(damage, fc.nat(whole.length), fc.boolean(), async (bytes, cut, isCut) => {
        const archive = Buffer.from(isCut ? whole.subarray(0, cut) : whole);
        for (const { at, byte } of bytes) if (at < archive.length) archive[at] = byte;
        const { end } = await copyIn(node, "/tmp", archive);
        const isFine = end?.type === "exit" ? end.code === 0 : known.includes(end?.code ?? "");
        assert.ok(isFine, JSON.stringify(end));
      }),
      { numRuns: 60 },
    );
    assert.is(await inside(node, "busybox find / -xdev -name '.strata-*'"), "");
  });
});
