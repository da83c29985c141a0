import { existsSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { findLeftovers, observe, RUN_VARIABLE } from "../../scripts/testing/leftovers.ts";
import { runFile } from "../../scripts/testing/run-file.ts";
import { countTests, summaryLine } from "../../scripts/testing/summary.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const deadlineMs = 20_000;

/** Runs the text as a test file, beside the real suite wrapper, and counts as the test command does. */
async function countsOf(text: string, options = { deadlineMs, env: {} }): Promise<string> {
  await using folder = aTemporaryDirectory();
  const path = join(folder.path, "a.test.ts");
  const suiteUrl = new URL("../support/suite.ts", import.meta.url).href;
  writeFileSync(path, `import { assert, suite } from "${suiteUrl}";\n${text}`);
  return summaryLine(countTests(await runFile(["node", path], options)));
}

suite("test command", (test) => {
  test("counts what passed, failed and was skipped, over several suites", async () => {
    const line = await countsOf(`
      suite("a", (test) => {
        test("good", () => {});
        test("bad", () => assert.is(1, 2));
        test.skip("later", "no reason");
      });
      suite("b", (test) => { test("good", () => {}); });
    `);
    assert.is(line, "2 passed, 1 failed, 1 skipped");
  });

  test("counts a crash, a silent end, an exit in the middle and an empty file as failures", async () => {
    assert.is(await countsOf("throw new Error('x');"), "0 passed, 1 failed");
    assert.is(await countsOf("process.exit(0);"), "0 passed, 1 failed");
    assert.is(
      await countsOf(`suite("a", (test) => { test("x", () => process.exit(0)); });`),
      "0 passed, 1 failed",
    );
    assert.is(await countsOf(`suite("a", () => {});`), "0 passed, 1 failed");
  });

  test("counts an error after the tests as a failure", async () => {
    const line = await countsOf(`
      suite("a", (test) => { test("x", () => { process.on("exit", () => { process.exitCode = 3; }); }); });
    `);
    assert.is(line, "1 passed, 1 failed");
  });

  test("kills a file that hangs at its deadline, with all that it started", async () => {
    const marker = `hang-${process.pid}`;
    const line = await countsOf(
      `import { spawn } from "node:child_process";
       spawn("sleep", ["1000"]);
       setInterval(() => undefined, 1000);`,
      { deadlineMs: 1500, env: { [RUN_VARIABLE]: marker } },
    );
    assert.is(line, "0 passed, 1 failed");
    const left = [...observe(marker)].filter((found) => found.startsWith("process "));
    assert.equal(left, []);
  });

  test("sees a folder and a control group that were left behind", async () => {
    const before = observe("none");
    await using folder = aTemporaryDirectory();
    const isUnified = existsSync("/sys/fs/cgroup/cgroup.controllers");
    const group = `/sys/fs/cgroup/${isUnified ? "" : "pids/"}strata-seed-${process.pid}`;
    mkdirSync(group);
    try {
      const left = findLeftovers(before, observe("none"));
      assert.ok(left.includes(`temporary folder ${folder.path}`), left.join("\n"));
      assert.ok(left.includes(`cgroup ${group}`), left.join("\n"));
    } finally {
      rmdirSync(group);
    }
  });

  test("sees a process that detached itself from the run", async () => {
    const marker = `detached-${process.pid}`;
    await runFile(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &"], {
      deadlineMs,
      env: { [RUN_VARIABLE]: marker },
    });
    const left = [...observe(marker)].filter((found) => found.startsWith("process "));
    for (const found of left) process.kill(Number(found.split(" ")[1]), "SIGKILL");
    assert.is(left.length, 1);
    assert.match(left[0] ?? "", "sleep 1000");
  });
});
