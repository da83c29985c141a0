import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";
import { anExec } from "../support/exec-connection.ts";
import { aStream, type StreamEnd } from "../support/stream-connection.ts";

async function aRunningProcess(script = "exec sleep 600"): Promise<TestNode> {
  const node = await aNode({
    config: { User: "www" },
    change: (layer) => chmodSync(join(layer, "tmp"), 0o1777),
  });
  node.assign(anAssignment(script, { spec: { stopGraceMs: 0 } }));
  await node.until("web-1", ({ state }) => state === "running");
  return node;
}

let copies = 0;

type Copied = { readonly output: Buffer; readonly end: StreamEnd | undefined };

function copyOut(node: TestNode, path: string): Promise<Copied> {
  copies += 1;
  return aStream(node, { kind: "copyOut", id: `out-${copies}`, processId: "web-1", path }).result;
}

type Into = { readonly path: string; readonly top?: string };

async function copyIn(node: TestNode, into: Into, archive: Buffer): Promise<Copied> {
  copies += 1;
  const stream = aStream(node, {
    kind: "copyIn",
    id: `in-${copies}`,
    processId: "web-1",
    ...into,
  });
  for (let at = 0; at < archive.length; at += 65_536)
    await stream.send("stdin", archive.subarray(at, at + 65_536));
  await stream.send("stdinEnd");
  return await stream.result;
}

async function inside(node: TestNode, script: string): Promise<string> {
  const { stdout, stderr, code } = await anExec(node, { command: ["sh", "-c", script] }).result;
  if (code !== 0) throw new Error(`${script}: ${code} ${stderr}`);
  return stdout;
}

/** By GNU tar, with its own view of owners. */
function pack(folder: string, ...args: readonly string[]): Buffer {
  return execFileSync("tar", ["-C", folder, "-cf", "-", ...args], { maxBuffer: 1024 ** 3 });
}

function unpack(folder: string, archive: Buffer): void {
  execFileSync("tar", ["-C", folder, "-xpf", "-"], { input: archive });
}

function list(archive: Buffer): readonly string[] {
  return execFileSync("tar", ["-tvf", "-", "--numeric-owner"], { input: archive })
    .toString()
    .trim()
    .split("\n");
}

suite("copying out of a container", (test) => {
  test("gives a tree that GNU tar unpacks as it was", async () => {
    await using node = await aRunningProcess();
    await using folder = aTemporaryDirectory();
    const long = "l".repeat(200);
    await inside(
      node,
      `umask 022; mkdir -p /tmp/t/sub /tmp/t/empty && cd /tmp/t && echo hello >a && echo x >sub/${long} &&
       busybox ln -s a link && busybox ln -s ../../${long}/${long} longlink && busybox chmod 4755 a &&
       busybox touch -d "2001-02-03 04:05:06" a && busybox mkfifo pipe`,
    );
    const { output, end } = await copyOut(node, "/tmp/t");
    assert.equal(end, { type: "exit", code: 0 });
    unpack(folder.path, output);
    const at = (name: string): string => join(folder.path, "t", name);
    assert.is(readFileSync(at("a"), "utf8"), "hello\n");
    assert.is(readFileSync(at(`sub/${long}`), "utf8"), "x\n");
    assert.is(readlinkSync(at("link")), "a");
    assert.is(readlinkSync(at("longlink")), `../../${long}/${long}`);
    assert.is(statSync(at("a")).mtime.toISOString(), "2001-02-03T04:05:06.000Z");
    assert.is(statSync(at("a")).mode & 0o7777, 0o4755);
    assert.equal([statSync(at("a")).uid, statSync(at("a")).gid], [33, 33]);
    assert.ok(statSync(at("empty")).isDirectory());
    assert.ok(lstatSync(at("pipe")).isFIFO(), "a fifo is named, and was not waited for");
  });

  test("names the archive's top as cp does, and takes contents alone for a path that ends in /.", async () => {
    await using node = await aRunningProcess();
    await inside(node, "mkdir -p /tmp/d && echo 1 >/tmp/d/f && busybox ln -s d /tmp/l");
    const names = async (path: string): Promise<readonly string[]> =>
      list((await copyOut(node, path)).output).map((line) => line.split(/\s+/).slice(5).join(" "));
    assert.equal(await names("/tmp/d"), ["d/", "d/f"]);
    assert.equal(await names("/tmp/d/"), ["d/", "d/f"]);
    assert.equal(await names("/tmp/d/."), ["./", "./f"]);
    assert.equal(await names("/tmp/l"), ["l -> d"]);
    assert.equal(await names("/tmp/l/"), ["l/", "l/f"]);
    assert.equal(await names("/tmp/d/f"), ["f"]);
    const root = await names("/");
    assert.ok(root.includes("./") && root.includes("./etc/passwd"));
    assert.not.ok(
      root.some((name) => /^\.\/(proc|sys)\/./.test(name)),
      "kernel files stay out",
    );
  });

  test("says what is not there, what is no folder, and that a process is gone", async () => {
    await using node = await aRunningProcess();
    const { end } = await copyOut(node, "/no/such\u001b[31m");
    assert.equal(end, {
      type: "error",
      code: "PATH_NOT_FOUND",
      message: "/no/such?[31m: No such file or directory",
    });
    const file = await copyOut(node, "/etc/passwd/");
    assert.is(file.end?.type === "error" && file.end.code, "PATH_NOT_FOUND");
    copies += 1;
    const wish = { kind: "copyOut", id: `o-${copies}`, processId: "other", path: "/" } as const;
    const gone = await aStream(node, wish).result;
    assert.is(gone.end?.type === "error" && gone.end.code, "NOT_RUNNING");
  });

  test("never leaves the container by its links, nor shows the host's own settings", async () => {
    await using node = await aRunningProcess();
    await inside(
      node,
      `cd /tmp && busybox ln -s /etc/hostname h && busybox ln -s /proc/1/root r && busybox ln -s /proc/sys/kernel k &&
       busybox ln -s ../../../../../../.. up`,
    );
    const text = async (path: string): Promise<string> =>
      (await copyOut(node, path)).output.toString("latin1");
    assert.match(await text("/tmp/h/../../etc/hosts".replace("/h/../..", "/up")), "web-1");
    assert.match(await text("/tmp/up/etc/hostname"), "web-1");
    assert.match(await text("/tmp/r/etc/hostname"), /web-1|^$/);
    const passwd = await text("/tmp/up/etc/passwd");
    assert.match(passwd, "www:x:33:33");
    assert.not.match(passwd, "nobody");
  });

  test("cuts or fills files that change, and keeps the archive whole", async () => {
    await using node = await aRunningProcess(
      "cd /tmp; while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa >>grow; busybox truncate -s 5000000 shrink; busybox truncate -s 0 shrink; done",
    );
    for (let round = 0; round < 20; round += 1) {
      const { output, end } = await copyOut(node, "/tmp");
      assert.equal(end, { type: "exit", code: 0 });
      assert.ok(list(output).length >= 1);
    }
  });
});

suite("copying into a container", (test) => {
  test("unpacks files, folders and links with modes, owners and times", async () => {
    await using node = await aRunningProcess();
    await using folder = aTemporaryDirectory();
    // ustar splits it into a prefix and a name, the others have headers for it.
    const [sub, deep] = ["m".repeat(90), "n".repeat(90)];
    mkdirSync(join(folder.path, "t", sub), { recursive: true });
    writeFileSync(join(folder.path, "t/a"), "hello\n", { mode: 0o640 });
    writeFileSync(join(folder.path, "t", sub, deep), "deep\n");
    symlinkSync("a", join(folder.path, "t/link"));
    linkSync(join(folder.path, "t/a"), join(folder.path, "t/twin"));
    utimesSync(join(folder.path, "t/a"), 1_000_000_000, 1_000_000_000);
    for (const format of ["gnu", "pax", "ustar"]) {
      const archive = pack(folder.path, `--format=${format}`, "--owner=33", "--group=50", "t");
      const { output, end } = await copyIn(node, { path: "/tmp" }, archive);
      assert.equal(end, { type: "exit", code: 0 }, format);
      assert.is(output.toString(), "6 11 0\n");
      const said = await inside(
        node,
        `cd /tmp/t; cat a; stat -c "%a %u %g %Y %h" a; busybox readlink link; cat m*/n*; busybox rm -r /tmp/t`,
      );
      assert.is(said, "hello\n640 33 50 1000000000 2\na\ndeep\n", format);
    }
  });

  test("gives a tree another name where the target is none of its folders, as cp does", async () => {
    await using node = await aRunningProcess();
    await using folder = aTemporaryDirectory();
    mkdirSync(join(folder.path, "t"));
    writeFileSync(join(folder.path, "t/a"), "1");
    writeFileSync(join(folder.path, "f"), "2");
    const tree = pack(folder.path, "t");
    const contents = pack(join(folder.path, "t"), ".");
    const file = pack(folder.path, "f");
    await inside(node, "mkdir /tmp/there; echo old >/tmp/old");
    const code = async (into: Into, archive: Buffer): Promise<string> => {
      const { end } = await copyIn(node, into, archive);
      return end?.type === "error" ? end.code : String(end?.code);
    };
    assert.is(await code({ path: "/tmp/there", top: "t" }, tree), "0");
    assert.is(await code({ path: "/tmp/new", top: "t" }, tree), "0");
    assert.is(await code({ path: "/tmp/new2/", top: "t" }, tree), "0");
    assert.is(await code({ path: "/tmp/new3", top: "." }, contents), "0");
    assert.is(await code({ path: "/tmp/there", top: "." }, contents), "0");
    assert.is(await code({ path: "/tmp/old", top: "f" }, file), "0");
    assert.is(await code({ path: "/tmp/there/f2", top: "f" }, file), "0");
    assert.is(await code({ path: "/tmp/none/", top: "f" }, file), "PATH_NOT_FOUND");
    assert.is(await code({ path: "/tmp/none/x", top: "f" }, file), "PATH_NOT_FOUND");
    assert.is(await code({ path: "/tmp/none" }, file), "PATH_NOT_FOUND");
    assert.is(await code({ path: "/tmp/old", top: "t" }, tree), "PATH_UNUSABLE");
    assert.is(await code({ path: "/tmp/old/", top: "f" }, file), "PATH_UNUSABLE");
    assert.is(await code({ path: "/tmp", top: "other" }, tree), "ARCHIVE_INVALID");
    const found = await inside(node, "cd /tmp; busybox find . -type f | busybox sort; cat old");
    assert.is(found, "./new/a\n./new2/a\n./new3/a\n./old\n./there/a\n./there/f2\n./there/t/a\n2");
  });

  test("leaves nothing half written when it is cut off, and refuses what is no archive", async () => {
    await using node = await aRunningProcess();
    await using folder = aTemporaryDirectory();
    writeFileSync(join(folder.path, "big"), Buffer.alloc(3_000_000, "x"));
    const archive = pack(folder.path, "big");
    await inside(node, "mkdir /tmp/into");
    for (const bad of [
      archive.subarray(0, 2_000_000),
      Buffer.alloc(0),
      Buffer.alloc(10_240, "z"),
    ]) {
      const { end } = await copyIn(node, { path: "/tmp/into" }, bad);
      assert.is(end?.type === "error" && end.code, "ARCHIVE_INVALID");
    }
    copies += 1;
    const wish = {
      kind: "copyIn",
      id: `i-${copies}`,
      processId: "web-1",
      path: "/tmp/into",
    } as const;
    const stream = aStream(node, wish);
    await stream.send("stdin", archive.subarray(0, 1_000_000));
    stream.hangUp();
    await stream.result.catch(() => undefined);
    assert.is(await inside(node, "ls -A /tmp/into"), "");
    assert.equal((await copyIn(node, { path: "/tmp/into" }, archive)).end, {
      type: "exit",
      code: 0,
    });
    assert.is(await inside(node, "stat -c %s /tmp/into/big"), "3000000\n");
  });

  test("keeps holes, and refuses a file that the container has no room for", async () => {
    await using node = await aRunningProcess();
    await using folder = aTemporaryDirectory();
    const holes = join(folder.path, "holes");
    writeFileSync(holes, "begin");
    truncateSync(holes, 20_000_000);
    const { end } = await copyIn(node, { path: "/tmp" }, pack(folder.path, "holes"));
    assert.equal(end, { type: "exit", code: 0 });
    const [size, blocks] = (await inside(node, "stat -c '%s %b' /tmp/holes")).trim().split(" ");
    assert.is(size, "20000000");
    assert.ok(Number(blocks) < 1000, `${blocks} blocks`);
    const device = await copyIn(
      node,
      { path: "/proc/x", top: "holes" },
      pack(folder.path, "holes"),
    );
    assert.is(device.end?.type === "error" && device.end.code, "PATH_UNUSABLE");
  });

  test("never writes outside the container, whatever its links and the archive's names say", async () => {
    await using node = await aRunningProcess();
    await using folder = aTemporaryDirectory();
    const victim = join(folder.path, "victim");
    writeFileSync(join(folder.path, "x"), "from the archive");
    mkdirSync(victim);
    await inside(node, `busybox ln -s ${victim} /tmp/out; busybox ln -s /proc/1/root/tmp /tmp/r`);
    const renamed = (name: string): Buffer =>
      pack(folder.path, "-P", `--transform=s,^x$,${name},`, "x");
    const code = async (path: string, archive: Buffer): Promise<string> => {
      const { end } = await copyIn(node, { path }, archive);
      return end?.type === "error" ? end.code : String(end?.code);
    };
    assert.is(await code("/tmp/out", renamed("x")), "PATH_UNUSABLE");
    assert.is(await code("/tmp", renamed("../../x")), "ARCHIVE_INVALID");
    assert.is(await code("/tmp", renamed("a/../../x")), "ARCHIVE_INVALID");
    assert.is(await code("/tmp", renamed("out/x")), "PATH_UNUSABLE");
    assert.is(await code("/tmp", renamed(`${victim}/x`)), "0");
    assert.not.ok(existsSync(join(victim, "x")));
    assert.is(await inside(node, `cat /tmp${victim}/x`), "from the archive");
  });
});
