import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { processStates, processTransitions } from "@strata/protocol/agent/process-state";

import { root } from "../../scripts/root.ts";
import { assert, suite } from "../support/suite.ts";

const read = (path: string): string => readFileSync(join(root, path), "utf8");

/** All matches of the pattern's first group in the sources, each once. */
function collect(patterns: readonly string[], expression: RegExp): readonly string[] {
  const found = globSync(patterns, { cwd: root }).flatMap((path) =>
    [...read(path).matchAll(expression)].map(([, match = ""]) => match),
  );
  return [...new Set(found)].toSorted();
}

const missingFrom = (page: string, words: readonly string[]): readonly string[] =>
  words.filter((word) => !page.includes(`\`${word}\``));

suite("documents", (test) => {
  test("name every setting that a program reads", () => {
    const settings = collect(
      ["{agent,cli,controller,registry}/src/**/*.ts"],
      /\b(STRATA_[A-Z_]+)\b/g,
    );
    assert.ok(settings.length > 10, "the sources were not found");
    assert.equal(missingFrom(read("docs/reference/settings.md"), settings), []);
  });

  test("name every error code with its remedy", () => {
    const codes = collect(["*/src/**/errors.ts"], /^ *\| "([A-Z][A-Z0-9_]+)"/gm);
    assert.equal(missingFrom(read("docs/reference/errors.md"), codes), []);
  });

  test("tell the life of a process as the code has it", () => {
    const rows = read("docs/reference/states.md").matchAll(
      /^\| `(\w+)` *\|[^|]*\| ([^|]*?) *\|$/gm,
    );
    const told = new Map([...rows].map(([, state = "", next = ""]) => [state, next]));
    assert.equal([...told.keys()], [...processStates]);
    for (const state of ["pulling", "starting", "running", "draining"] as const) {
      const listed = (told.get(state) ?? "").replaceAll(/\([^)]*\)/g, "").match(/\w+/g);
      assert.equal(listed?.toSorted(), [...processTransitions[state]].toSorted(), state);
    }
  });
});
