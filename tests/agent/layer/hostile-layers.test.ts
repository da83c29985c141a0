import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";

import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aTar, dir, type EntrySpec, file, hardlink, symlink } from "./tar-builder.ts";
import { unpackInto, type UnpackSettings } from "./trees.ts";

/** Unpacking must fail with this code, and leave nothing: not in the folder, not beside it. */
async function assertRefused(
  layers: readonly Buffer[],
  code: string,
  settings?: UnpackSettings,
): Promise<Error> {
  await using folder = aTemporaryDirectory();
  const error = await rejectsWithCode(unpackInto(join(folder.path, "out"), layers, settings), code);
  assert.equal(readdirSync(folder.path), []);
  assert.not.ok(existsSync("/tmp/strata-escape"));
  return error;
}

const capability = "\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const xattr = (name: string, value: string): EntrySpec => ({
  pax: { [`SCHILY.xattr.${name}`]: value },
});

suite("layers that are refused, with the entry's name", (test) => {
  const refused: Readonly<Record<string, readonly EntrySpec[]>> = {
    "`..` at the start": [file("../strata-escape")],
    "`..` in the middle": [dir("a"), file("a/../../strata-escape")],
    "`..` at the end": [dir("a"), dir("a/..")],
    "`..` behind an absolute start": [file("/../strata-escape")],
    "an empty name": [file("")],
    "a root that is a file": [file("./")],
    "a root that is a link": [symlink("/", "/tmp")],
    "a root that is a hard link": [file("a"), hardlink(".", "a")],
    "a way through a link that leads above the root": [
      symlink("up", "../.."),
      file("up/strata-escape"),
    ],
    "a way through two links that lead above the root": [
      dir("a"),
      symlink("a/up", ".."),
      symlink("out", "a/up/.."),
      file("out/strata-escape"),
    ],
    "a way through an absolute link that climbs": [
      symlink("up", "/../../tmp"),
      file("up/strata-escape"),
    ],
    "a way through a file": [file("a"), file("a/b")],
    "a way through a skipped device": [{ ...file("dev"), type: "3" }, file("dev/b")],
    "a way through a fifo": [{ ...file("pipe"), type: "6" }, file("pipe/b")],
    "links that lead round in circles": [symlink("a", "b"), symlink("b", "a"), file("a/c")],
    "a link to itself": [symlink("a", "a/x"), file("a/c")],
    "a symbolic link to nothing": [symlink("a", "")],
    "a hard link out of the layer": [hardlink("a", "../../etc/passwd")],
    "a hard link to a file of the host": [hardlink("a", "/etc/passwd")],
    "a hard link through a link to the host": [symlink("etc", "/etc"), hardlink("a", "etc/passwd")],
    "a hard link to itself": [file("a"), hardlink("a", "a")],
    "a hard link to an entry that comes later": [hardlink("b", "a"), file("a")],
    "a hard link to a directory": [dir("a"), hardlink("b", "a")],
    "a hard link to the root": [hardlink("b", "/")],
    "a hard link to a device": [{ ...file("dev"), type: "4" }, hardlink("b", "dev")],
    "a hard link to what it replaces": [dir("a"), file("a/f"), hardlink("a", "a/f")],
    "a whiteout of nothing": [file(".wh.")],
    "a whiteout of the directory": [dir("a"), file("a/.wh..")],
    "a whiteout of the parent": [dir("a"), file("a/.wh...")],
    "something below a whiteout": [file("a/.wh.b/c")],
    "a whiteout through a link": [dir("a"), symlink("l", "a"), file("l/.wh.b")],
    "an opaque mark through a link": [dir("a"), symlink("l", "a"), file("l/.wh..wh..opq")],
    "a whiteout that is a directory": [dir(".wh.a")],
    "a whiteout that is a link": [symlink(".wh.a", "/etc/passwd")],
    "a capability that is none": [file("a", "", xattr("security.capability", "junk"))],
    "a user attribute of a link": [symlink("a", "b", xattr("user.a", "b"))],
  };
  for (const [title, entries] of Object.entries(refused)) {
    test(title, async () => {
      const { message } = await assertRefused([aTar(entries)], "LAYER_REFUSED");
      assert.match(message, /entry "/);
    });
    test(`${title}, applied to a plain tree`, async () => {
      await assertRefused([aTar([dir("below")]), aTar(entries)], "LAYER_REFUSED", {
        policy: "apply",
      });
    });
  }

  test("shows control characters of a name escaped", async () => {
    const { message } = await assertRefused([aTar([file("a\n\x1b[2J/../b")])], "LAYER_REFUSED");
    assert.not.ok(message.includes("\n") || message.includes("\x1b"));
  });

  test("links of a lower layer lead nowhere else either", async () => {
    const layers = [aTar([symlink("up", "../../../tmp")]), aTar([file("up/strata-escape")])];
    await assertRefused(layers, "LAYER_REFUSED", { policy: "apply" });
  });
});

suite("layers over a limit", (test) => {
  const limited = (
    title: string,
    entries: readonly EntrySpec[],
    limits: UnpackSettings["limits"],
  ): void =>
    test(title, async () => {
      await assertRefused([aTar(entries)], "LAYER_LIMIT", { limits: limits ?? {} });
    });
  limited("too many entries", [dir("a"), dir("b"), dir("c")], { entriesMax: 2 });
  limited("too deep", [file("a/b/c/d")], { depthMax: 3 });
  limited("a component over 255 bytes", [file("x", "", { longName: "n".repeat(256) })], {});
  limited(
    "a name over 4095 bytes",
    [file("x", "", { longName: `${"n".repeat(200)}/`.repeat(21) })],
    {},
  );
  limited(
    "a link's target over 4095 bytes",
    [symlink("x", "", { longLink: "n".repeat(4096) })],
    {},
  );
  limited(
    "a path that links make too long",
    [symlink("l", "d"), file("x", "", { longName: `l/${"n".repeat(200)}/l2` })],
    { pathBytesMax: 204 },
  );
  limited("a PAX header", [file("a", "", { pax: { comment: "x".repeat(600) } })], {
    extendedHeaderBytesMax: 512,
  });
  limited("extended attributes", [file("a", "", xattr("user.a", "x".repeat(600)))], {
    xattrBytesMax: 512,
  });
  limited(
    "a sparse file's logical size, before a byte is written",
    [
      file("a", "", {
        pax: {
          "GNU.sparse.map": "",
          "GNU.sparse.numblocks": "0",
          "GNU.sparse.major": "0",
          "GNU.sparse.minor": "1",
          "GNU.sparse.size": String(2 ** 50),
        },
      }),
    ],
    {},
  );
  limited("bytes of files", [file("a", "x".repeat(3000))], { unpackedBytesMax: 2500 });

  for (const [name, compress] of [
    ["gzip", gzipSync],
    ["zstd", zstdCompressSync],
  ] as const) {
    test(`a ${name} bomb, while it unpacks`, async () => {
      const bomb = compress(aTar([file("zeros", "\0".repeat(32 * 1024 ** 2))]));
      const limits = { ratioMax: 100, ratioGraceBytes: 1024 ** 2 };
      await assertRefused([bomb], "LAYER_LIMIT", { limits });
    });
  }
});

suite("damaged compression", (test) => {
  const archive = aTar([file("a", "some content".repeat(1000))]);
  const cases: Readonly<Record<string, Buffer>> = {
    "gzip cut off": gzipSync(archive).subarray(0, 60),
    "gzip with another checksum": flip(gzipSync(archive), -6),
    "gzip with text behind it": Buffer.concat([gzipSync(archive), Buffer.from("text")]),
    "gzip with zeros behind it": Buffer.concat([gzipSync(archive), Buffer.alloc(512)]),
    "zstd cut off between frames' blocks": zstdCompressSync(archive).subarray(0, -3),
    "zstd cut off at its start": zstdCompressSync(archive).subarray(0, 6),
    "zstd with text behind it": Buffer.concat([zstdCompressSync(archive), Buffer.from("text")]),
  };
  for (const [title, bytes] of Object.entries(cases)) {
    test(title, async () => {
      await assertRefused([bytes], "LAYER_MALFORMED");
    });
  }

  test("takes gzip of several members and zstd of several frames, skippable ones too", async () => {
    const halves = [archive.subarray(0, 700), archive.subarray(700)];
    const skippable = Buffer.from("502a4d1803000000010203", "hex");
    await using folder = aTemporaryDirectory();
    await unpackInto(join(folder.path, "gzip"), [
      Buffer.concat(halves.map((half) => gzipSync(half))),
    ]);
    const frames = halves.map((half) => zstdCompressSync(half));
    await unpackInto(join(folder.path, "zstd"), [Buffer.concat([skippable, ...frames, skippable])]);
    assert.equal(readdirSync(join(folder.path, "zstd")), ["a"]);
  });
});

function flip(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  const index = copy.length + at;
  copy[index] = (copy[index] ?? 0) ^ 1;
  return copy;
}

suite("the folder to unpack into", (test) => {
  test("is left as it was when it is not empty", async () => {
    await using folder = aTemporaryDirectory();
    await unpackInto(join(folder.path, "out"), [aTar([file("mine")])]);
    const error = await rejectsWithCode(
      unpackInto(join(folder.path, "out"), [aTar([file("other")])]),
      "LAYER_WRITE_FAILED",
    );
    assert.match(error.message, /not empty/);
    assert.equal(readdirSync(join(folder.path, "out")), ["mine"]);
  });

  test("keeps a valid capability", async () => {
    await using folder = aTemporaryDirectory();
    await unpackInto(join(folder.path, "out"), [
      aTar([file("a", "x", xattr("security.capability", capability))]),
    ]);
    assert.equal(readdirSync(join(folder.path, "out")), ["a"]);
  });
});
