import { compileGlob, GLOB_LENGTH_MAX } from "@strata/registry/glob";
import fc from "fast-check";

import { assert, suite } from "../support/suite.ts";

suite("a pattern", (test) => {
  test("means what the same regular expression means", () => {
    const letters = fc.string({
      unit: fc.constantFrom("a", "b", "*", "?", "/", "."),
      maxLength: 8,
    });
    fc.assert(
      fc.property(letters, letters, (pattern, text) => {
        fc.pre(pattern !== "");
        const source = pattern
          .replace(/[./]/g, "\\$&")
          .replace(/\*/g, "[^]*")
          .replace(/\?/g, "[^]");
        assert.is(compileGlob(pattern)(text), new RegExp(`^${source}$`).test(text));
      }),
      { numRuns: 5_000 },
    );
  });

  test("is refused when it is empty or too long, and never hangs", () => {
    assert.throws(() => compileGlob(""), /1 to 255/);
    assert.throws(() => compileGlob("a".repeat(GLOB_LENGTH_MAX + 1)), /1 to 255/);
    assert.not(compileGlob(`${"a*".repeat(127)}c`)("a".repeat(5_000)));
  });
});
