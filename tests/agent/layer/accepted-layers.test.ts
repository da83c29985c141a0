import { execFileSync } from "node:child_process";
import {
  lstatSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aTar, dir, type EntrySpec, file, hardlink, symlink } from "./tar-builder.ts";
import { anUnpacked, archiveOf, describeTree, outline, unpackInto } from "./trees.ts";

async function outlineOf(entries: readonly EntrySpec[]): Promise<readonly string[]> {
  await using unpacked = await anUnpacked([aTar(entries)]);
  return outline(unpacked.tree);
}

suite("names that real images contain", (test) => {
  test("`./` in front, absolute, doubled slashes, trailing slashes", async () => {
    const entries = [dir("./"), file("./a"), file("/b"), dir("c//d/"), file("c/./d/e")];
    const expected = ["file a", "file b", "directory c/", "directory c/d/", "file c/d/e"];
    assert.equal(await outlineOf(entries), expected);
  });

  test("parents that are left out", async () => {
    await using unpacked = await anUnpacked([aTar([file("a/b/c")])]);
    assert.equal(outline(unpacked.tree), ["directory a/", "directory a/b/", "file a/b/c"]);
    assert.is(lstatSync(join(unpacked.directory, "a")).mode & 0o7777, 0o755);
  });

  test("files below a link to a directory of the same root, relative or absolute", async () => {
    const entries = [
      dir("usr/bin"),
      symlink("bin", "usr/bin"),
      symlink("sbin", "/usr/bin"),
      file("bin/sh"),
      file("sbin/init"),
    ];
    const expected = [
      "symlink bin -> usr/bin",
      "symlink sbin -> /usr/bin",
      "directory usr/",
      "directory usr/bin/",
      "file usr/bin/init",
      "file usr/bin/sh",
    ];
    assert.equal(await outlineOf(entries), expected);
  });

  test("a way through `..` of a link that stays inside", async () => {
    assert.equal(await outlineOf([dir("a"), symlink("a/l", "../b"), dir("b"), file("a/l/c")]), [
      "directory a/",
      "symlink a/l -> ../b",
      "directory b/",
      "file b/c",
    ]);
  });

  test("links that point outside, as long as nothing goes through them", async () => {
    assert.equal(await outlineOf([symlink("l", "../../etc/passwd")]), [
      "symlink l -> ../../etc/passwd",
    ]);
  });

  test("bytes that are not UTF-8, apart from each other", async () => {
    await using unpacked = await anUnpacked([
      aTar([file("a\xff", "1"), file("a\xfe", "2"), symlink("b\xfd", "c\xfc")]),
    ]);
    assert.equal(outline(unpacked.tree), ["file a\xfe", "file a\xff", "symlink b\xfd -> c\xfc"]);
  });

  test("a path of 4095 bytes", async () => {
    const long = `${"n".repeat(250)}/`.repeat(16) + "f".repeat(4095 - 16 * 251);
    await using unpacked = await anUnpacked([aTar([file("x", "deep", { longName: long })])]);
    assert.is(unpacked.tree.length, 17);
  });

  test("names that look like options, spaces, line breaks, `..` with more", async () => {
    const entries = ["-rf", " ", "a\nb", "...", "..a", "a.."].map((name) => file(name));
    assert.is((await outlineOf(entries)).length, 6);
  });
});

suite("entries that come twice: the last one wins", (test) => {
  const cases: Readonly<Record<string, readonly [readonly EntrySpec[], readonly string[]]>> = {
    "a file over a file": [[file("a", "1"), file("a", "22")], ["file a"]],
    "a file over a directory with content": [[file("a/b/c"), file("a")], ["file a"]],
    "a directory over a file": [
      [file("a"), dir("a"), file("a/b")],
      ["directory a/", "file a/b"],
    ],
    "a directory over a link, which is not followed": [
      [dir("t"), symlink("a", "t"), dir("a"), file("a/b")],
      ["directory a/", "file a/b", "directory t/"],
    ],
    "a file over a link, which is not followed": [
      [file("t", "kept"), symlink("a", "t"), file("a", "x")],
      ["file a", "file t"],
    ],
    "a directory over a directory keeps the content": [
      [dir("a"), file("a/b"), dir("a")],
      ["directory a/", "file a/b"],
    ],
    "a device over a file": [[file("a"), { ...file("a"), type: "3" }], []],
    "a file over a device": [[{ ...file("a"), type: "3" }, file("a")], ["file a"]],
    "a link over a hard link": [
      [file("a"), hardlink("b", "a"), symlink("b", "c")],
      ["file a", "symlink b -> c"],
    ],
  };
  for (const [title, [entries, expected]] of Object.entries(cases)) {
    test(title, async () => {
      assert.equal(await outlineOf(entries), expected);
    });
  }

  test("a directory that comes again brings its own mode", async () => {
    await using unpacked = await anUnpacked([
      aTar([dir("a", { mode: 0o700 }), dir("a", { mode: 0o1777 })]),
    ]);
    assert.is(lstatSync(join(unpacked.directory, "a")).mode & 0o7777, 0o1777);
  });
});

suite("what is kept of an entry", (test) => {
  const capability = "\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
  const all: readonly EntrySpec[] = [
    file("setuid", "x", { mode: 0o4755, uid: 1000, gid: 50 }),
    file("setgid", "x", { mode: 0o2711, gid: 42 }),
    file("none", "x", { mode: 0 }),
    dir("sticky", { mode: 0o1777 }),
    dir("group", { mode: 0o2775, gid: 50 }),
    file("group/own", "x", { mode: 0o644, gid: 7 }),
    file("large-ids", "x", { pax: { uid: "4294967294", gid: "3000000000" } }),
    file("time", "x", { pax: { mtime: "1600000000.123456789" } }),
    file("early", "x", { pax: { mtime: "-5.5" } }),
    dir("dirtime", { pax: { mtime: "1500000000.000000001" } }),
    symlink("link", "nowhere", { uid: 3, gid: 4, pax: { mtime: "1400000000.5" } }),
    { ...file("pipe"), type: "6", mode: 0o620, uid: 5, gid: 6 },
    file("capable", "x", { pax: { "SCHILY.xattr.security.capability": capability } }),
    file("tagged", "x", { pax: { "SCHILY.xattr.user.mime": "a\xff\0b" } }),
    hardlink("tagged-too", "tagged"),
  ];

  test("owner, mode, time to the nanosecond, capabilities, user attributes, hard links, fifos", async () => {
    await using unpacked = await anUnpacked([aTar(all)]);
    const facts = new Map(
      unpacked.tree.map((line) => {
        const [, mode, owner, time, name, , xattrs]: readonly [
          string,
          string,
          string,
          string,
          string,
          string,
          string[],
        ] = JSON.parse(line);
        return [name, [mode, owner, time, ...xattrs].join(" ")];
      }),
    );
    assert.is(facts.get("setuid"), "4755 1000:50 1600000000.0");
    assert.is(facts.get("setgid"), "2711 0:42 1600000000.0");
    assert.is(facts.get("none"), "0 0:0 1600000000.0");
    assert.is(facts.get("sticky/"), "1777 0:0 1600000000.0");
    assert.is(facts.get("group/"), "2775 0:50 1600000000.0");
    assert.is(facts.get("group/own"), "644 0:7 1600000000.0");
    assert.is(facts.get("large-ids"), "644 4294967294:3000000000 1600000000.0");
    assert.is(facts.get("time"), "644 0:0 1600000000.123456789");
    assert.is(facts.get("early"), "644 0:0 -6.500000000");
    assert.is(facts.get("dirtime/"), "755 0:0 1500000000.1");
    assert.is(facts.get("link"), "777 3:4 1400000000.500000000");
    assert.is(facts.get("pipe"), "620 5:6 1600000000.0");
    assert.is(
      facts.get("capable"),
      `644 0:0 1600000000.0 security.capability=${Buffer.from(capability, "latin1").toString("hex")}`,
    );
    assert.is(facts.get("tagged"), "644 0:0 1600000000.0 user.mime=61ff0062");
    assert.is(lstatSync(join(unpacked.directory, "tagged-too")).nlink, 2);
  });

  test("drops attributes that mean something to the host, and devices, and says so", async () => {
    const names = [
      "trusted.overlay.opaque",
      "trusted.x",
      "user.overlay.opaque",
      "security.selinux",
      "system.posix_acl_access",
    ];
    const pax = Object.fromEntries(names.map((name) => [`SCHILY.xattr.${name}`, "y"]));
    await using unpacked = await anUnpacked([
      aTar([
        file("a", "x", { pax }),
        { ...file("null"), type: "3" },
        { ...file("sda"), type: "4" },
      ]),
    ]);
    assert.match(unpacked.tree[0] ?? "", /,\[\],/);
    assert.is(unpacked.tree.length, 1);
    const [report] = unpacked.reports;
    assert.is(report?.droppedXattrs.count, names.length);
    assert.equal(report?.skippedDevices, { count: 2, names: ["null", "sda"] });
  });
});

suite("archives of GNU tar", (test) => {
  test("unpack to the tree that was packed, in every format", async () => {
    await using folder = aTemporaryDirectory();
    const source = join(folder.path, "source");
    mkdirSync(join(source, "directory"), { recursive: true });
    const long = "long".repeat(50);
    writeFileSync(join(source, "directory", long), "content".repeat(10_000));
    symlinkSync(long.repeat(2).slice(0, 250), join(source, "link"));
    writeFileSync(join(source, "directory", "setuid"), "x", { mode: 0o755 });
    execFileSync("chmod", ["4711", join(source, "directory", "setuid")]);
    execFileSync("touch", [
      "-h",
      "-d",
      "@1600000000",
      source,
      join(source, "link"),
      join(source, "directory", "setuid"),
    ]);
    execFileSync("touch", [
      "-d",
      "@1500000000",
      join(source, "directory", long),
      join(source, "directory"),
    ]);
    execFileSync("ln", [join(source, "directory", long), join(source, "hardlink")]);
    for (const format of ["gnu", "pax"]) {
      await using unpacked = await anUnpacked([archiveOf(source, [`--format=${format}`])]);
      assert.equal(unpacked.tree, describeTree(source), format);
    }
  });

  test("of sparse files keep the content in all four sparse formats", async () => {
    await using folder = aTemporaryDirectory();
    const source = join(folder.path, "source");
    mkdirSync(source);
    // Enough holes that old GNU headers need extension blocks.
    const sparse = join(source, "sparse");
    writeFileSync(sparse, "");
    truncateSync(sparse, 64 * 65_536 + 100);
    for (let index = 0; index < 64; index += 2) {
      execFileSync("dd", [
        "if=/dev/urandom",
        `of=${sparse}`,
        "bs=4096",
        "count=1",
        `seek=${index * 16}`,
        "conv=notrunc",
        "status=none",
      ]);
    }
    writeFileSync(join(source, "holes-only"), "");
    truncateSync(join(source, "holes-only"), 1_000_000);
    for (const format of [
      ["--format=gnu"],
      ...["0.0", "0.1", "1.0"].map((version) => ["--format=pax", `--sparse-version=${version}`]),
    ]) {
      const archive = archiveOf(source, ["--sparse", ...format]);
      assert.ok(archive.length < 400_000, "GNU tar did write it sparse");
      const out = join(folder.path, format.join(""));
      await unpackInto(out, [archive]);
      assert.ok(readFileSync(join(out, "sparse")).equals(readFileSync(sparse)), format.join(" "));
      assert.is(lstatSync(join(out, "holes-only")).size, 1_000_000);
      assert.is(lstatSync(join(out, "holes-only")).blocks, 0);
    }
  });
});
