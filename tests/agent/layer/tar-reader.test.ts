import { LayerError } from "@strata/agent/layer/errors";
import fc from "fast-check";

import { assert, suite, throwsWithCode } from "../../support/suite.ts";
import { readEntries } from "./read-entries.ts";
import { aTar, dir, type EntrySpec, file, hardlink, paxBody } from "./tar-builder.ts";

const names = (entries: readonly EntrySpec[]): readonly string[] =>
  readEntries(aTar(entries)).map(({ name }) => name);

suite("tar reader: names as Go reads them", (test) => {
  test("joins the ustar prefix", () => {
    assert.equal(names([file("b", "", { patches: [{ at: 345, bytes: "a/very/long" }] })]), [
      "a/very/long/b",
    ]);
  });

  test("knows no prefix in old GNU headers, where it holds times", () => {
    const patches = [{ at: 345, bytes: "00000000017\0" }];
    assert.equal(names([file("b", "", { format: "gnu", patches })]), ["b"]);
  });

  test("takes a PAX path over the header's, and a GNU long name over both", () => {
    assert.equal(names([file("short", "", { pax: { path: "from/pax" } })]), ["from/pax"]);
    assert.equal(names([file("short", "", { pax: { path: "from/pax" }, longName: "from/gnu" })]), [
      "from/gnu",
    ]);
  });

  test("lets an empty PAX value keep what the header says", () => {
    assert.equal(names([file("kept", "", { pax: { path: "" } })]), ["kept"]);
  });

  test("lets a second PAX header replace the first one whole", () => {
    const first: EntrySpec = { name: "pax", type: "x", body: paxBody({ path: "first", uid: "7" }) };
    const [entry] = readEntries(aTar([first, file("own", "", { pax: { gid: "8" } })]));
    assert.equal([entry?.name, entry?.uid, entry?.gid], ["own", 0, 8]);
  });

  test("gives global PAX records to no entry, and drops the records in front of them", () => {
    const local: EntrySpec = { name: "pax", type: "x", body: paxBody({ path: "local" }) };
    const global: EntrySpec = {
      name: "global",
      type: "g",
      body: paxBody({ path: "global", uid: "9" }),
    };
    assert.equal(names([global, file("a")]), ["a"]);
    assert.equal(names([local, global, file("a")]), ["a"]);
  });

  test("keeps bytes that are not UTF-8", () => {
    assert.equal(names([file("a\xff\xfe"), file("b", "", { pax: { path: "b\xff\xfe" } })]), [
      "a\xff\xfe",
      "b\xff\xfe",
    ]);
  });

  test("takes a version 7 name with a trailing slash for a directory", () => {
    const [entry] = readEntries(aTar([{ name: "old/", type: "\0", format: "v7" }]));
    assert.is(entry?.type, "directory");
  });
});

suite("tar reader: numbers", (test) => {
  const sizeField = (bytes: string): EntrySpec => file("x", "", { patches: [{ at: 124, bytes }] });

  test("reads base-256 owners", () => {
    const [entry] = readEntries(
      aTar([file("x", "", { patches: [{ at: 108, bytes: "\x80\0\0\0\x7f\xff\xff\xff" }] })]),
    );
    assert.is(entry?.uid, 0x7fff_ffff);
  });

  test("reads times before 1970 and with nanoseconds", () => {
    const [entry] = readEntries(aTar([file("x", "", { pax: { mtime: "-1.25" } })]));
    assert.equal([entry?.mtimeSeconds, entry?.mtimeNanoseconds], [-2, 750_000_000]);
  });

  const bad: readonly (readonly [string, EntrySpec])[] = [
    ["a negative size", sizeField(`\xff${"\xff".repeat(11)}`)],
    ["a size over 2^63", sizeField(`\x80${"\xff".repeat(11)}`)],
    ["octal with junk", sizeField("00000 00001\0")],
    ["octal with an 8", sizeField("00000000008\0")],
    ["uid 2^32", file("x", "", { pax: { uid: "4294967296" } })],
    [
      "uid 2^32 - 1, which chown takes for no change",
      file("x", "", { pax: { uid: "4294967295" } }),
    ],
    ["a negative gid", file("x", "", { pax: { gid: "-1" } })],
    ["a negative PAX size", file("x", "", { pax: { size: "-1" } })],
    ["a PAX size with a fraction", file("x", "", { pax: { size: "1.5" } })],
    [
      "a device number that overflows",
      { ...file("x"), type: "3", patches: [{ at: 329, bytes: `\x80${"\xff".repeat(7)}` }] },
    ],
    ["an unknown type", { ...file("x"), type: "Z" }],
    ["a multi-volume part", { ...file("x"), type: "M" }],
  ];
  for (const [title, entry] of bad) {
    test(`refuses ${title}`, () => {
      throwsWithCode(() => readEntries(aTar([entry])), "LAYER_REFUSED");
    });
  }
});

suite("tar reader: ends and lengths", (test) => {
  test("takes an archive without its end, and with zeros behind it", () => {
    assert.is(readEntries(aTar([file("a", "x")], { trailer: "" })).length, 1);
    assert.is(readEntries(aTar([file("a", "x")], { trailer: "\0".repeat(20_480) })).length, 1);
    assert.is(readEntries(Buffer.alloc(0)).length, 0);
  });

  test("gives no body to links and directories that say they have a size", () => {
    const entries = [dir("d", { size: 512 }), hardlink("h", "f", { size: 99 }), file("f", "x")];
    assert.equal(names(entries), ["d", "h", "f"]);
  });

  const bad: readonly (readonly [string, Buffer])[] = [
    ["an entry behind the end", Buffer.concat([aTar([file("a")]), aTar([file("smuggled")])])],
    [
      "an entry behind one block of zeros",
      aTar([file("a")], { trailer: `${"\0".repeat(512)}${aTar([file("b")]).toString("latin1")}` }),
    ],
    [
      "a body that is cut off",
      aTar([file("a", "x".repeat(600))], { trailer: "" }).subarray(0, 1100),
    ],
    ["a header that is cut off", aTar([file("a")]).subarray(0, 300)],
    ["a wrong checksum", aTar([file("a", "", { checksum: "bad" })])],
    ["text", Buffer.from("this is not a tar archive".repeat(50))],
    ["a PAX record that is too long", aTar([{ type: "x", body: "99 path=a\n" }, file("a")])],
    ["a PAX record of length 0", aTar([{ type: "x", body: "0 path=a\n" }, file("a")])],
    ["a PAX record without a line break", aTar([{ type: "x", body: "10 path=ab" }, file("a")])],
    ["a PAX record without a key", aTar([{ type: "x", body: "6 =ab\n" }, file("a")])],
    ["a PAX path with NUL", aTar([file("a", "", { pax: { path: "a\0b" } })])],
    ["a GNU long name with text behind NUL", aTar([file("a", "", { longName: "a\0b" })])],
    ["a PAX header in front of nothing", aTar([{ type: "x", body: paxBody({ path: "a" }) }])],
  ];
  for (const [title, archive] of bad) {
    test(`refuses ${title}`, () => {
      throwsWithCode(() => readEntries(archive), "LAYER_MALFORMED");
    });
  }

  test("refuses a PAX header over its limit before it is read", () => {
    const huge: EntrySpec = { type: "x", size: 0o7777_7777_777 };
    throwsWithCode(() => readEntries(aTar([huge])), "LAYER_LIMIT");
  });
});

suite("tar reader: whatever the bytes", (test) => {
  const spec = fc.oneof(
    fc.record({
      name: fc.string({ minLength: 1, maxLength: 90, unit: "grapheme-ascii" }),
      body: fc.string({ maxLength: 1500 }),
    }),
    fc.record({
      name: fc.constant("l"),
      type: fc.constantFrom("1", "2", "5"),
      linkName: fc.string({ maxLength: 99 }),
    }),
    fc.record({
      name: fc.constant("p"),
      pax: fc.dictionary(
        fc.constantFrom("path", "uid", "mtime", "size", "SCHILY.xattr.user.a"),
        fc.string({ maxLength: 40 }),
      ),
    }),
    fc.record({
      name: fc.constant("g"),
      longName: fc.string({ minLength: 1, maxLength: 700, unit: "grapheme-ascii" }),
    }),
  );
  const outcome = (archive: Buffer, chunkBytes: readonly number[]): unknown => {
    try {
      return readEntries(archive, chunkBytes);
    } catch (error) {
      if (error instanceof LayerError) return error.code;
      throw error;
    }
  };

  test("means the same however it is cut into chunks", () => {
    fc.assert(
      fc.property(
        fc.array(spec, { maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 900 }), { maxLength: 12 }),
        (specs, cuts) => {
          const archive = aTar(specs);
          assert.equal(outcome(archive, cuts), outcome(archive, []));
        },
      ),
      { numRuns: 300 },
    );
  });

  test("answers damaged archives with a coded error or with entries, never with another exception", () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 8 });
    fc.assert(
      fc.property(
        fc.array(spec, { minLength: 1, maxLength: 4 }),
        damage,
        fc.nat(),
        (specs, bytes, length) => {
          const archive = aTar(specs);
          for (const [at, value] of bytes) archive[at % archive.length] = value;
          outcome(archive.subarray(0, archive.length - (length % 700)), [1, 511, 513]);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("reads headers of any bytes whose checksum fits", () => {
    const block = fc.uint8Array({ minLength: 512, maxLength: 512 });
    fc.assert(
      fc.property(
        block,
        fc.constantFrom("ustar\x0000", "ustar  \0", ""),
        fc.constantFrom("0", "S", "x", "L", "5", "g"),
        (bytes, magic, type) => {
          const header = Buffer.from(bytes);
          header.write(magic, 257, "latin1");
          header.write(type, 156, "latin1");
          header.write("00000000100\0", 124, "latin1");
          header.fill(" ", 148, 156);
          const sum = header.reduce((total, byte) => total + byte, 0);
          header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
          outcome(Buffer.concat([header, Buffer.alloc(2048)]), []);
        },
      ),
      { numRuns: 500 },
    );
  });
});
