import {
  cellAt,
  type Chunk,
  coarse,
  decodeChunk,
  emptyChunk,
  encodeChunk,
  fine,
  rollUp,
  slotsOf,
} from "@strata/controller/history/chunk";
import { type Slot, toPoints, windowsIn } from "@strata/controller/history/points";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

const HOUR = 3_600_000;

suite("a chunk of the metrics history", (test) => {
  test("is read as it was written, to five digits", () => {
    const number = fc.oneof(
      fc.float({ min: -(2 ** 100), max: 2 ** 100, noDefaultInfinity: true }),
      fc.integer({ min: 0, max: 65_536 }),
    );
    fc.assert(
      fc.property(fc.array(number, { minLength: 1, maxLength: 600 }), (numbers) => {
        const read = decodeChunk(encodeChunk(Float32Array.from(numbers)), numbers.length);
        assert.is(read.length, numbers.length);
        for (const [index, number] of numbers.entries()) {
          const found = read[index] ?? 0;
          if (Number.isInteger(number) && Math.abs(number) <= 65_536) assert.is(found, number + 0);
          else if (Number.isNaN(number)) assert.ok(Number.isNaN(found));
          else assert.ok(Math.abs(found - number) <= Math.abs(number) * 2e-5 + 1e-38);
        }
      }),
    );
  });

  test("is not read when it unpacks to more than its window can hold", () => {
    const bomb = encodeChunk(new Float32Array(1_000_000));
    assert.throws(() => decodeChunk(bomb, 600));
  });

  test("becomes averages and extremes of five minutes, of what is known", () => {
    const start = coarse.windowMs * 7;
    const chunk = emptyChunk(fine, 2);
    const set = (slot: number, value: number): void => {
      chunk[cellAt(fine, { column: 1, slot })] = value;
    };
    set(0, 10);
    set(29, 30);
    set(30, 5);
    const second = start + fine.windowMs;
    const rolled = rollUp(2, start, (at) => (at === second ? chunk : undefined));
    const cell = (column: number, slot: number): number[] => [
      ...(rolled ?? new Float32Array()).subarray(
        cellAt(coarse, { column, slot }),
        cellAt(coarse, { column, slot }) + coarse.parts,
      ),
    ];
    assert.equal(cell(1, 2), [20, 10, 30]);
    assert.equal(cell(1, 3), [5, 5, 5]);
    assert.equal(cell(1, 0), [NaN, NaN, NaN]);
    assert.equal(cell(0, 2), [NaN, NaN, NaN]);
    assert.is(
      rollUp(2, start, () => emptyChunk(fine, 2)),
      undefined,
      "of nothing there is nothing",
    );
  });

  test("keeps every average between the extremes, whatever was measured", () => {
    const value = fc.oneof(fc.float({ noNaN: true, min: 0, max: 1e9 }), fc.constant(NaN));
    fc.assert(
      fc.property(fc.array(value, { minLength: 60, maxLength: 60 }), (values) => {
        const chunk: Chunk = Float32Array.from(values);
        const rolled = rollUp(1, 0, (at) => (at === 0 ? chunk : undefined)) ?? new Float32Array();
        for (let slot = 0; slot < slotsOf(coarse); slot += 1) {
          const at = cellAt(coarse, { column: 0, slot });
          const [average = NaN, min = NaN, max = NaN] = rolled.subarray(at, at + 3);
          if (Number.isNaN(average)) continue;
          // Floats of four bytes: the average may be off by the last digit.
          assert.ok(average >= min * 0.999_999 && average <= max * 1.000_001);
        }
      }),
    );
  });
});

const slot = (atS: number, value: number): Slot => ({
  atMs: atS * 1000,
  value,
  min: value - 1,
  max: value + 1,
});

suite("points of an answer", (test) => {
  test("stand at the begin of their step, and steps without figures are left out", () => {
    const slots = [slot(60, 1), slot(70, 3), slot(200, 8)];
    assert.equal(toPoints(slots, { stepMs: 60_000, agg: "avg" }), [
      [60, 2],
      [180, 8],
    ]);
  });

  test("are what was asked for", () => {
    const slots = Array.from({ length: 20 }, (_, index) => slot(index, index + 1));
    const one = (agg: "max" | "min" | "last" | "p95" | "sum"): unknown =>
      toPoints(slots, { stepMs: 60_000, agg })[0]?.[1];
    assert.equal(
      [one("max"), one("min"), one("last"), one("p95"), one("sum")],
      [21, 0, 20, 19, 10.5],
    );
  });

  test("come from the fine tier where it is kept, from the coarse one before, and never from both", () => {
    const fineFromMs = 48 * HOUR;
    const windows = windowsIn({ sinceMs: 41 * HOUR, untilMs: 49 * HOUR, fineFromMs });
    const spans = windows.map(({ tier, start }) => [start, start + tier.windowMs] as const);
    for (const [index, [begin]] of spans.entries())
      if (index > 0) assert.is(begin, spans[index - 1]?.[1]);
    assert.equal(
      windows.filter(({ tier }) => tier === coarse).map(({ start }) => start / HOUR),
      [40, 44],
    );
    assert.is(windows.filter(({ tier }) => tier === fine).length, 6);
  });
});
