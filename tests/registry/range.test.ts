import { type ByteRange, parseChunkRange, parseRange } from "@strata/registry/http/range";
import fc from "fast-check";

import { assert, suite } from "../support/suite.ts";

const parse = (header: string | undefined, sizeBytes = 1000, rangesMax = 4): string => {
  const request = parseRange(header, { sizeBytes, rangesMax });
  return request.kind === "partial"
    ? request.ranges.map(({ start, end }) => `${start}-${end}`).join(",")
    : request.kind;
};

suite("parseRange", (test) => {
  test("takes ranges as they were asked for while they are apart", () => {
    assert.is(parse("bytes=0-0"), "0-0");
    assert.is(parse("bytes=10-19, 0-4,20-29"), "10-19,0-4,20-29");
    assert.is(parse("BYTES = -1"), "999-999");
  });

  test("merges ranges that overlap", () => {
    assert.is(parse("bytes=0-100,50-200,900-"), "0-200,900-999");
    assert.is(parse("bytes=0-,0-,0-,0-,0-,0-"), "0-999");
  });

  test("clamps to the blob, and drops what is wholly outside", () => {
    assert.is(parse("bytes=990-5000"), "990-999");
    assert.is(parse("bytes=-5000"), "0-999");
    assert.is(parse("bytes=5000-6000,1-2"), "1-2");
  });

  test("finds nothing in what is outside, reversed or empty", () => {
    assert.is(parse("bytes=1000-"), "unsatisfiable");
    assert.is(parse("bytes=500-0"), "unsatisfiable");
    assert.is(parse("bytes=-0"), "unsatisfiable");
    assert.is(parse("bytes=0-", 0), "unsatisfiable");
  });

  test("ignores what is no byte range, and more ranges than it may serve", () => {
    for (const header of [
      undefined,
      "",
      "bytes=",
      "bytes=a-b",
      "lines=1-2",
      "bytes=1-2,x",
      "bytes=--1",
    ]) {
      assert.is(parse(header), "whole", String(header));
    }
    assert.is(parse(`bytes=${"9".repeat(30)}-`), "whole");
    assert.is(parse("bytes=0-1,10-11,20-21,30-31,40-41"), "whole");
  });

  test("never answers more than the blob, never outside of it, never twice", () => {
    const part = fc.oneof(
      fc.tuple(fc.nat(300), fc.option(fc.nat(300), { nil: "" })).map(([a, b]) => `${a}-${b}`),
      fc.nat(300).map((count) => `-${count}`),
    );
    fc.assert(
      fc.property(
        fc.array(part, { minLength: 1, maxLength: 12 }),
        fc.nat(250),
        (parts, sizeBytes) => {
          const request = parseRange(`bytes=${parts.join(",")}`, { sizeBytes, rangesMax: 12 });
          if (request.kind !== "partial") return;
          checkInside(request.ranges, sizeBytes);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

function checkInside(ranges: readonly ByteRange[], sizeBytes: number): void {
  const sorted = ranges.toSorted((a, b) => a.start - b.start);
  let next = 0;
  for (const { start, end } of sorted) {
    assert.ok(start >= next && start <= end && end < sizeBytes);
    next = end + 1;
  }
}

suite("parseChunkRange", (test) => {
  test("reads the spec's form and the one of RFC 9110", () => {
    assert.is(parseChunkRange(undefined), undefined);
    assert.equal(parseChunkRange("0-511"), { start: 0, end: 511 });
    assert.equal(parseChunkRange("bytes 5-9/10"), { start: 5, end: 9 });
    assert.equal(parseChunkRange("bytes=5-9/*"), { start: 5, end: 9 });
  });

  test("says what is invalid", () => {
    for (const header of ["", "5", "9-5", "-5", "5-", "a-b", `0-${"9".repeat(40)}`]) {
      assert.is(parseChunkRange(header), "invalid", header);
    }
  });
});
