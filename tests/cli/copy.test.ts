import { execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";

import { extractTree } from "@strata/cli/copy/extract";
import { parsePlace, topOf } from "@strata/cli/copy/place";

import { aTar, dir, type EntrySpec, file, hardlink, symlink } from "../agent/layer/tar-builder.ts";
import { assert, rejectsWithCode, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { aFileServer } from "./support/file-server.ts";
import { runCli } from "./support/run-cli.ts";

async function extract(
  folder: string,
  archive: Buffer,
  options: { readonly top?: string; readonly rename?: string } = {},
): Promise<readonly string[]> {
  const skipped: string[] = [];
  await extractTree(Readable.from([archive]), {
    folder,
    top: ".",
    onSkipped: (path, why) => skipped.push(`${path.slice(folder.length + 1)}: ${why}`),
    ...options,
  });
  return skipped;
}

suite("places of a copy", (test) => {
  test("are told apart as cp does: a process by its colon, a path by a slash before it", () => {
    assert.equal(parsePlace("web:/etc"), { kind: "process", name: "web", path: "/etc" });
    assert.equal(parsePlace("web:etc"), { kind: "process", name: "web", path: "/etc" });
    assert.equal(parsePlace("web:"), { kind: "process", name: "web", path: "/" });
    assert.equal(parsePlace("web:/a:b"), { kind: "process", name: "web", path: "/a:b" });
    assert.equal(parsePlace("./a:b"), { kind: "local", path: "./a:b" });
    assert.equal(parsePlace("/x/a:b"), { kind: "local", path: "/x/a:b" });
    assert.equal(parsePlace("-"), { kind: "pipe" });
    assert.equal(parsePlace("file"), { kind: "local", path: "file" });
  });

  test("name the top of their archives", () => {
    for (const [path, top] of [
      ["/etc/hosts", "hosts"],
      ["/etc/", "etc"],
      ["/etc/.", "."],
      ["/", "."],
      [".", "."],
      ["a/b//", "b"],
    ] as const)
      assert.is(topOf(path), top, path);
  });
});

suite("an archive of a process", (test) => {
  test("is unpacked with modes and times, setuid left out, holes kept", async () => {
    await using folder = aTemporaryDirectory();
    const mtime = 981_173_106;
    const archive = aTar([
      dir("t/", { mode: 0o555, mtime }),
      file("t/a", "hello", { mode: 0o4751, mtime }),
      symlink("t/link", "a"),
      file("t/zeros", "\0".repeat(3_000_000)),
    ]);
    assert.equal(await extract(folder.path, archive, { top: "t" }), []);
    const a = statSync(join(folder.path, "t/a"));
    assert.equal([a.mode & 0o7777, a.mtimeMs], [0o751, 1000 * mtime]);
    assert.is(statSync(join(folder.path, "t")).mode & 0o777, 0o555);
    assert.is(statSync(join(folder.path, "t")).mtimeMs, 1000 * mtime);
    assert.is(readlinkSync(join(folder.path, "t/link")), "a");
    const zeros = statSync(join(folder.path, "t/zeros"));
    assert.is(zeros.size, 3_000_000);
    assert.ok(zeros.blocks < 1000, `${zeros.blocks} blocks`);
  });

  test("keeps names of any bytes", async () => {
    await using folder = aTemporaryDirectory();
    await using source = aTemporaryDirectory();
    const name = Buffer.concat([
      Buffer.from("n-"),
      Buffer.from([0xff, 0xc3, 0x28]),
      Buffer.from("ü"),
    ]);
    writeFileSync(Buffer.concat([Buffer.from(`${source.path}/`), name]), "x");
    const long = "l".repeat(200);
    writeFileSync(join(source.path, long), "y");
    const archive = execFileSync("tar", ["-C", source.path, "--format=gnu", "-cf", "-", "."]);
    await extract(folder.path, archive);
    const found = readdirSync(folder.path, { encoding: "buffer" }).map((each) =>
      each.toString("hex"),
    );
    assert.equal(
      found.toSorted(),
      [Buffer.from(long).toString("hex"), name.toString("hex")].toSorted(),
    );
  });

  test("writes nothing outside the target, whatever its names and links say", async () => {
    await using folder = aTemporaryDirectory();
    const target = join(folder.path, "target");
    const victim = join(folder.path, "victim");
    mkdirSync(target);
    writeFileSync(victim, "mine");
    // PAX names are UTF-8; cut to a byte, this letter would be a slash.
    const pax = (path: string): EntrySpec =>
      file("x", "evil", { pax: { path: Buffer.from(path).toString("latin1") } });
    for (const entry of [
      file("../victim", "evil"),
      file("a/../../victim", "evil"),
      pax("..\u012fvictim"),
      pax("a\u012f..\u012fx"),
      dir("d", { size: 512 }),
    ])
      await rejectsWithCode(extract(target, aTar([entry])), "ARCHIVE_REFUSED");
    assert.equal(await extract(target, aTar([file(victim, "below")])), []);
    assert.is(readFileSync(join(target, victim), "utf8"), "below");
    // A link and then a file through it: the link is left out, or is no folder for the file.
    for (const [index, linkname] of [
      "..",
      "/",
      "../victim",
      folder.path,
      "x/../..",
      "x/..",
    ].entries()) {
      const skipped = await extract(target, aTar([symlink(`l${index}`, linkname)]));
      assert.is(skipped.length, 1, linkname);
      assert.not.ok(existsSync(join(target, `l${index}`)));
    }
    const inner = aTar([symlink("in", "sub"), file("in/file", "evil")]);
    await rejectsWithCode(extract(target, inner), "TARGET_OCCUPIED");
    symlinkSync(victim, join(target, "existing"));
    await extract(target, aTar([file("existing", "new")]));
    assert.ok(lstatSync(join(target, "existing")).isFile(), "a link is replaced, not followed");
    symlinkSync(folder.path, join(target, "up"));
    await rejectsWithCode(extract(target, aTar([file("up/victim", "evil")])), "TARGET_OCCUPIED");
    assert.is(readFileSync(victim, "utf8"), "mine");
  });

  test("makes links that stay inside, and leaves out what is no file", async () => {
    await using folder = aTemporaryDirectory();
    const skipped = await extract(
      folder.path,
      aTar([
        dir("d/"),
        symlink("d/e/l", "../../top"),
        symlink("d/up", ".."),
        symlink("d/far", "../.."),
        { name: "pipe", type: "6" },
        hardlink("hard\u001b[2J", "d/e/l"),
      ]),
    );
    assert.is(readlinkSync(join(folder.path, "d/e/l")), "../../top");
    assert.is(readlinkSync(join(folder.path, "d/up")), "..");
    assert.equal(
      skipped.map((line) => line.split(":")[0]),
      ["d/far", "pipe", "hard?[2J"],
    );
  });
});

suite("strata cp", (test) => {
  test("copies out into a folder, under a new name, or as an archive", async () => {
    await using folder = aTemporaryDirectory();
    const archive = aTar([dir("etc/"), file("etc/f", "1")]);
    await using server = await aFileServer(archive);
    const cp = async (...args: readonly string[]): Promise<number> => {
      const { status, stderr } = await runCli(["cp", ...args], { env: server.env });
      if (status !== 0) throw new Error(stderr);
      return status;
    };
    await cp("web:/etc", folder.path);
    await cp("web:/etc", join(folder.path, "renamed"));
    await cp("web-1:etc/", join(folder.path, "slash/"));
    for (const name of ["etc", "renamed", "slash"])
      assert.is(readFileSync(join(folder.path, name, "f"), "utf8"), "1", name);
    assert.equal(
      server.asked.map((url) => url.searchParams.get("path")),
      ["/etc", "/etc", "/etc/"],
    );
    const { stdout } = await runCli(["cp", "web:/etc", "-"], { env: server.env });
    assert.is(stdout, archive.toString());
    const nowhere = await runCli(["cp", "web:/etc", join(folder.path, "no/where")], server);
    assert.is(nowhere.status, 2);
    assert.match(nowhere.stderr, "there is no folder");
  });

  test("says when the connection breaks before all is there", async () => {
    await using folder = aTemporaryDirectory();
    const archive = aTar([file("f", "x".repeat(1_000_000))]);
    await using server = await aFileServer(archive, { cutAt: 300_000 });
    const { status, stderr } = await runCli(["cp", "web:/f", folder.path], { env: server.env });
    assert.is(status, 3, stderr);
    assert.match(stderr, "the connection broke before all was copied");
  });

  test("copies in as root's, with modes, times and links, and says what it leaves out", async () => {
    await using folder = aTemporaryDirectory();
    await using back = aTemporaryDirectory();
    await using server = await aFileServer();
    mkdirSync(join(folder.path, "t/sub"), { recursive: true });
    writeFileSync(join(folder.path, "t/a"), "hello", { mode: 0o640 });
    utimesSync(join(folder.path, "t/a"), 1_000_000_000, 1_000_000_000);
    writeFileSync(join(folder.path, "t/sub", "n".repeat(200)), "deep");
    symlinkSync("a", join(folder.path, "t/link"));
    writeFileSync(join(folder.path, "t/sparse"), "");
    truncateSync(join(folder.path, "t/sparse"), 1_000_000);
    execFileSync("mkfifo", [join(folder.path, "t/pipe")]);
    const { status, stderr } = await runCli(["cp", join(folder.path, "t"), "web:/srv/x"], server);
    assert.is(status, 0, stderr);
    assert.match(stderr, `left out ${join(folder.path, "t/pipe")}`);
    const [sent] = server.put;
    assert.equal(Object.fromEntries(sent?.url.searchParams ?? []), { path: "/srv/x", top: "t" });
    execFileSync("tar", ["-C", back.path, "-xpf", "-"], { input: sent?.body });
    const a = statSync(join(back.path, "t/a"));
    assert.equal([a.mode & 0o777, a.mtimeMs], [0o640, 1_000_000_000_000]);
    assert.is(readFileSync(join(back.path, "t/sub", "n".repeat(200)), "utf8"), "deep");
    assert.is(readlinkSync(join(back.path, "t/link")), "a");
    assert.is(statSync(join(back.path, "t/sparse")).size, 1_000_000);
    const listed = execFileSync("tar", ["-tvf", "-", "--numeric-owner"], { input: sent?.body });
    assert.ok(
      listed
        .toString()
        .trim()
        .split("\n")
        .every((line) => line.includes(" 0/0 ")),
    );
  });

  test("sends an archive on as it is, and the contents of a folder that ends in /.", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aFileServer();
    const archive = aTar([file("f", "x".repeat(200_000))]);
    const stdin = Readable.from([archive]);
    assert.is((await runCli(["cp", "-", "web:/srv"], { env: server.env, stdin })).status, 0);
    assert.equal(Object.fromEntries(server.put[0]?.url.searchParams ?? []), { path: "/srv" });
    assert.ok(server.put[0]?.body.equals(archive));
    writeFileSync(join(folder.path, "f"), "1");
    await runCli(["cp", `${folder.path}/.`, "web:/srv"], server);
    assert.is(server.put[1]?.url.searchParams.get("top"), ".");
    const names = execFileSync("tar", ["-tf", "-"], { input: server.put[1]?.body });
    assert.is(names.toString(), "./\n./f\n");
  });

  test("is told what cannot be: two processes, none, no such file, a terminal", async () => {
    await using server = await aFileServer();
    const refused = async (...args: readonly string[]): Promise<string> => {
      const { status, stderr } = await runCli(["cp", ...args], { env: server.env });
      assert.is(status, 2);
      return stderr;
    };
    assert.match(await refused("a:/x", "b:/y"), "one of the two is in a process");
    assert.match(await refused("x", "y"), "one of the two is in a process");
    assert.match(await refused("/no/such/file", "web:/"), "/no/such/file cannot be read");
    const stdin = Object.assign(new PassThrough(), { isTTY: true });
    const typed = await runCli(["cp", "-", "web:/"], { env: server.env, stdin });
    assert.equal([typed.status, server.put.length], [2, 0]);
  });
});
