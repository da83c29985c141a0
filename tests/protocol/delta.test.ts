import { randomBytes } from "node:crypto";
import { constants, deflateRawSync, gzipSync } from "node:zlib";

import { applyDelta, createDelta } from "@strata/protocol/delta/delta";
import { diff } from "@strata/protocol/delta/diff";
import { patch } from "@strata/protocol/delta/patch";
import { readGzip } from "@strata/protocol/delta/read-gzip";
import { sortLiterals, unsortLiterals } from "@strata/protocol/delta/sort-literals";
import { writeGzip } from "@strata/protocol/delta/write-gzip";
import fc from "fast-check";

import { assert, suite, throwsWithCode } from "../support/suite.ts";

const LIMIT = 64 * 1024 * 1024;
const KIB = 1024;

/** Text of words, with the repetitions that text has. The same number gives the same text. */
function aText(bytes: number, seed = 1): Buffer {
  const words: string[] = [];
  let state = seed;
  for (let length = 0; length < bytes; length += words.at(-1)?.length ?? 0) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    words.push(`${((state >>> 8) % 5000).toString(36)}${state % 7 === 0 ? "\n" : " "}`);
  }
  return Buffer.from(words.join("")).subarray(0, bytes);
}

function assertSame(actual: Buffer | undefined, expected: Buffer): void {
  assert.ok(actual?.equals(expected), "other bytes");
}

function assertTold(gzip: Buffer): void {
  assertSame(writeGzip(readGzip(gzip, LIMIT), gzip.length), gzip);
}

suite("readGzip and writeGzip", (test) => {
  test(
    "tell every file of every level and strategy again to the bit",
    () => {
      const inputs = [Buffer.alloc(0), Buffer.alloc(300_000), aText(400_000), randomBytes(200_000)];
      const { Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED, Z_DEFAULT_STRATEGY } = constants;
      for (const input of inputs) {
        for (let level = 0; level <= 9; level += 1) assertTold(gzipSync(input, { level }));
        for (const strategy of [Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED, Z_DEFAULT_STRATEGY]) {
          assertTold(gzipSync(input, { strategy, memLevel: 3, windowBits: 10 }));
        }
      }
    },
    { timeoutMs: 120_000 },
  );

  test("tell any bytes again", () => {
    const bytes = fc.uint8Array({ maxLength: 3000 }).map((array) => Buffer.from(array));
    const text = fc.string({ maxLength: 3000 }).map((string) => Buffer.from(string.repeat(3)));
    fc.assert(
      fc.property(fc.oneof(bytes, text), fc.integer({ min: 0, max: 9 }), (input, level) =>
        assertTold(gzipSync(input, { level })),
      ),
    );
  });

  test("need no codes in the frame for what zlib wrote", () => {
    const { frame } = readGzip(gzipSync(aText(4_000_000)), LIMIT);
    assert.ok(frame.length < 500, `${frame.length} bytes`);
  });

  test("keep names, several members and what stands behind them", () => {
    const named = gzipSync(Buffer.from("x"));
    named[3] = 8 + 16;
    const texts = Buffer.from("name\0comment\0");
    const first = Buffer.concat([named.subarray(0, 10), texts, named.subarray(10)]);
    assertTold(Buffer.concat([first, gzipSync(aText(1000)), Buffer.from("behind")]));
  });

  test(
    "refuse what is cut off anywhere, and never read beyond it",
    () => {
      const gzip = gzipSync(aText(3000));
      for (let length = 0; length < gzip.length - 8; length += 1) {
        throwsWithCode(() => readGzip(Buffer.from(gzip.subarray(0, length)), LIMIT), "INVALID");
      }
    },
    { timeoutMs: 120_000 },
  );

  test(
    "refuse or tell again whatever is damaged",
    () => {
      const gzip = gzipSync(aText(3000));
      fc.assert(
        fc.property(fc.nat(gzip.length - 1), fc.nat(255), (at, value) => {
          const damaged = Buffer.from(gzip);
          damaged[at] = value;
          try {
            assertTold(damaged);
          } catch (error) {
            if (!(error instanceof Error && "code" in error && error.code === "INVALID"))
              throw error;
          }
        }),
        { numRuns: 500 },
      );
    },
    { timeoutMs: 120_000 },
  );

  test("stop a file that unpacks to more than the limit", () => {
    const body = deflateRawSync(randomBytes(100_000));
    const gzip = Buffer.concat([gzipSync("").subarray(0, 10), body, Buffer.alloc(8)]);
    throwsWithCode(() => readGzip(gzip, 50_000), "INVALID");
  });
});

suite("diff and patch", (test) => {
  test("give back any target from any source", () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 80 }),
      fc.constantFrom(aText(200, 1), aText(300, 2), aText(500, 3), Buffer.alloc(400)),
    );
    const bytes = fc.array(piece, { maxLength: 12 }).map((pieces) => Buffer.concat(pieces));
    fc.assert(
      fc.property(bytes, bytes, (source, target) => {
        const found = diff(source, target, LIMIT);
        assertSame(found && patch(source, found, target.length), target);
      }),
      { numRuns: 1000 },
    );
  });

  test("find what was moved, changed in place, cut out and put in", () => {
    const source = randomBytes(200 * KIB);
    const target = Buffer.concat([
      source.subarray(100 * KIB),
      Buffer.from("put in"),
      source.subarray(0, 50 * KIB),
      source.subarray(51 * KIB, 100 * KIB),
    ]);
    target[30_000] = (target[30_000] ?? 0) ^ 1;
    const found = diff(source, target, LIMIT);
    assert.is(found?.literals.length, 7);
    assert.ok((found?.changes.length ?? 100) < 40);
  });

  test("give up when too much is new", () => {
    assert.is(diff(randomBytes(1000), randomBytes(2000), 1000), undefined);
  });
});

suite("sortLiterals and unsortLiterals", (test) => {
  test("give any bytes back", () => {
    const escapes = fc.array(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), { maxLength: 200 });
    fc.assert(
      fc.property(fc.oneof(escapes, fc.uint8Array({ maxLength: 300 })), (array) => {
        const bytes = Buffer.from(array);
        assertSame(unsortLiterals(sortLiterals(bytes), bytes.length), bytes);
      }),
      { numRuns: 1000 },
    );
  });
});

suite("createDelta and applyDelta", (test) => {
  // gzip looks back 32 KiB: what stands behind a change is written differently for a while, all the more in a text
  // of few words such as this.
  for (const [name, pack, factor] of [
    ["gzip", (bytes: Buffer) => gzipSync(bytes), 2],
    ["no", (bytes: Buffer) => bytes, 1.05],
  ] as const) {
    test(`tell a change of a layer with ${name} compression in its own size`, () => {
      const files = Array.from({ length: 60 }, (_none, index) => aText(50 * KIB, index + 1));
      const changed = randomBytes(30 * KIB);
      const old = pack(Buffer.concat(files));
      const target = pack(Buffer.concat([...files.slice(0, 30), changed, ...files.slice(31)]));
      const delta = createDelta([old], target);
      if (delta === undefined) throw new Error("no delta");
      assert.ok(delta.length < changed.length * factor, `${delta.length} bytes`);
      assertSame(applyDelta([old], delta, target.length), target);
    });
  }

  test("take what is new in one layer from another", () => {
    const [one, two] = [aText(100 * KIB, 1), randomBytes(100 * KIB)];
    const sources = [gzipSync(one), gzipSync(two)];
    const target = gzipSync(Buffer.concat([two, one]));
    const delta = createDelta(sources, target);
    assert.ok((delta?.length ?? LIMIT) < 20 * KIB, `${delta?.length} bytes`);
    assertSame(applyDelta(sources, delta ?? Buffer.alloc(0), target.length), target);
  });

  test("are not made where they save nothing", () => {
    assert.is(createDelta([gzipSync(randomBytes(5000))], gzipSync(randomBytes(5000))), undefined);
    assert.is(createDelta([], randomBytes(5000)), undefined);
  });

  test(
    "are refused when damaged, or never give more than was said",
    () => {
      const source = gzipSync(aText(20 * KIB, 1));
      const target = gzipSync(Buffer.concat([aText(20 * KIB, 1), Buffer.from("end")]));
      const delta = createDelta([source], target);
      if (delta === undefined) throw new Error("no delta");
      throwsWithCode(() => applyDelta([source], delta, target.length - 1), "INVALID");
      throwsWithCode(() => applyDelta([source], delta, target.length + 1), "INVALID");
      throwsWithCode(() => applyDelta([Buffer.alloc(10)], delta, target.length), "INVALID");
      fc.assert(
        fc.property(fc.nat(delta.length - 1), fc.nat(255), (at, value) => {
          const damaged = Buffer.from(delta);
          damaged[at] = value;
          try {
            assert.is(applyDelta([source], damaged, target.length).length, target.length);
          } catch (error) {
            if (!(error instanceof Error && "code" in error && error.code === "INVALID"))
              throw error;
          }
        }),
        { numRuns: 500 },
      );
    },
    { timeoutMs: 120_000 },
  );
});
