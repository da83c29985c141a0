import { tidyFile } from "../../scripts/tidy/rules.ts";
import { assert, suite } from "../support/suite.ts";

/** `2 dead-link` for each finding, in a tree that has `files` beside it. */
function rulesOf(path: string, text: string, files: readonly string[] = []): readonly string[] {
  const exists = (other: string): boolean => files.includes(other);
  return tidyFile({ path, text }, { exists }).map(({ line, rule }) => `${line} ${rule}`);
}

suite("tidy", (test) => {
  test("finds nothing in a tidy file", () => {
    assert.equal(rulesOf("agent/src/start.ts", "export const x = 1;\n"), []);
  });

  test("refuses a source file over 500 lines and a test over 400", () => {
    assert.equal(rulesOf("agent/src/start.ts", "\n".repeat(500)), []);
    assert.equal(rulesOf("agent/src/start.ts", "\n".repeat(501)), ["500 file-length"]);
    assert.equal(rulesOf("tests/a/b.test.ts", "\n".repeat(401)), ["400 file-length"]);
    assert.equal(rulesOf("scripts/setup", "\n".repeat(501)), ["500 file-length"]);
  });

  test("refuses file names that say nothing or are not kebab-case", () => {
    for (const name of ["utils", "util", "helpers", "manager", "blobStore", "Blob", "a_b"]) {
      assert.equal(rulesOf(`agent/src/${name}.ts`, ""), ["1 file-name"], name);
    }
    assert.equal(rulesOf("agent/src/blob-store.ts", ""), []);
    assert.equal(rulesOf("tests/agent/up.system.test.ts", ""), []);
  });

  test("refuses what is left to do", () => {
    for (const word of ["TODO", "FIXME", "XXX", "HACK"]) {
      assert.equal(rulesOf("agent/src/a.ts", `\n// ${word}: later\n`), ["2 unfinished"], word);
    }
    assert.equal(rulesOf("agent/src/a.ts", "// hackney\n"), []);
  });

  test("refuses a disabled rule without a reason", () => {
    const disable = "// oxlint-disable-next-line no-eval";
    assert.equal(rulesOf("agent/src/a.ts", `${disable}\n`), ["1 disable-reason"]);
    assert.equal(rulesOf("agent/src/a.ts", `${disable} -- the input is ours\n`), []);
  });

  test("refuses paths of one machine", () => {
    assert.equal(rulesOf("docs/a.md", "see /work/main\n"), ["1 private-words"]);
  });

  test("refuses links that lead nowhere, from the file's own folder", () => {
    const text = [
      "# Getting started",
      "[good](../README.md) [gone](gone.md)",
      "[heading](#getting-started) [no heading](#nowhere)",
      "[web](https://example.org/x)",
      "```",
      "[in code](code.md)",
      "```",
    ].join("\n");
    assert.equal(rulesOf("docs/a.md", text, ["README.md"]), ["2 dead-link", "3 dead-link"]);
  });
});
