import { isSame } from "@strata/controller/domain/canonical";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

/** Another order of the keys, and a field that is undefined. */
function rewritten(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(rewritten);
  if (typeof value !== "object" || value === null) return value;
  const pairs = Object.entries(value).map(([key, one]) => [key, rewritten(one)] as const);
  return Object.fromEntries([["none", undefined] as const, ...pairs.toReversed()]);
}

/** JSON with sorted keys: the same text is the same value. */
function textOf(value: unknown): string {
  return JSON.stringify(value, (_, nested: unknown) =>
    typeof nested === "object" && nested !== null && !Array.isArray(nested)
      ? Object.fromEntries(Object.entries(nested).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : nested,
  );
}

const small = fc.jsonValue({ maxDepth: 2 });

suite("isSame", (test) => {
  test("holds for the same JSON in another order", () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => isSame(value, rewritten(value))));
  });

  test("holds for nothing else", () => {
    fc.assert(
      fc.property(small, small, (left, right) => {
        assert.is(isSame(left, right), textOf(left) === textOf(right));
      }),
    );
    assert.not.ok(isSame({}, { constructor: 1 }));
    assert.not.ok(isSame({ constructor: Object }, {}));
    assert.not.ok(isSame([], {}));
    assert.not.ok(isSame(null, undefined));
  });
});
