/** `node scripts/run-tests.ts [PATTERN…]`: every check and test, each file in a process of its own. What passed is one
 * line; what failed is shown whole. The last line is `N passed, N failed`, with `, N skipped` when some were. */
import { globSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { root } from "./root.ts";
import { findLeftovers, observe, RUN_VARIABLE } from "./testing/leftovers.ts";
import { runFile } from "./testing/run-file.ts";
import { addCounts, type Counts, countTests, noCounts, summaryLine } from "./testing/summary.ts";

const FILES_AT_ONCE = 2;
const FILE_DEADLINE_MS = 180_000;
/** One of them emulates a whole machine: two minutes on an idle machine, ten on a busy one. */
const SYSTEM_FILE_DEADLINE_MS = 900_000;
/** The kernel takes a moment to fold up a mount namespace or a cgroup after its last process. */
const LEFTOVER_GRACE_MS = 10_000;

/** Most of the time of a small test would be spent on compiling the same modules. */
const compiled = join(root, ".tools", "compiled");

const run = `${process.pid}-${process.hrtime.bigint()}`;
const patterns = process.argv.slice(2);
const files = globSync("tests/**/*.test.ts", { cwd: root })
  .filter((path) => patterns.length === 0 || patterns.some((pattern) => path.includes(pattern)))
  .filter((path) => !path.includes("node_modules"))
  .toSorted();
const isSystem = (path: string): boolean => path.endsWith(".system.test.ts");

if (files.length === 0) {
  console.error(`no test file matches ${patterns.join(" ")}`);
  process.exit(2);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

const before = observe(run);
let counts = patterns.length === 0 ? await runCheck() : noCounts;
counts = addCounts(
  counts,
  await runAll(
    files.filter((path) => !isSystem(path)),
    FILES_AT_ONCE,
  ),
);
// A system test owns the machine: it counts processes, mounts and ports.
counts = addCounts(counts, await runAll(files.filter(isSystem), 1));
counts = addCounts(counts, await checkLeftovers());
console.log(summaryLine(counts));
process.exitCode = counts.failed === 0 ? 0 : 1;

/** The whole of `pnpm check` counts as one test. */
async function runCheck(): Promise<Counts> {
  const { output, exitCode } = await runFile(["node", "scripts/check.ts"], {
    deadlineMs: FILE_DEADLINE_MS,
    env: {},
  });
  console.log(output.trimEnd());
  return exitCode === 0 ? { ...noCounts, passed: 1 } : { ...noCounts, failed: 1 };
}

async function runAll(paths: readonly string[], atOnce: number): Promise<Counts> {
  const waiting = [...paths];
  let sum = noCounts;
  const work = async (): Promise<void> => {
    for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
      const fileCounts = await runTestFile(path);
      sum = addCounts(sum, fileCounts); // After the wait: the other worker adds to the same sum.
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return sum;
}

async function runTestFile(path: string): Promise<Counts> {
  const startedAt = performance.now();
  const end = await runFile(["node", path], {
    deadlineMs: isSystem(path) ? SYSTEM_FILE_DEADLINE_MS : FILE_DEADLINE_MS,
    env: { [RUN_VARIABLE]: run, NODE_COMPILE_CACHE: compiled },
  });
  const fileCounts = countTests(end);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  if (fileCounts.failed > 0) console.log(`--- ${path}\n${end.output.trimEnd()}`);
  console.log(`${path}: ${summaryLine(fileCounts)} in ${seconds} s`);
  return fileCounts;
}

/** That the tests left the machine as they found it is a test too. */
async function checkLeftovers(): Promise<Counts> {
  const deadline = performance.now() + LEFTOVER_GRACE_MS;
  let leftovers = findLeftovers(before, observe(run));
  while (leftovers.length > 0 && performance.now() < deadline) {
    await delay(250);
    leftovers = findLeftovers(before, observe(run));
  }
  if (leftovers.length === 0) return { ...noCounts, passed: 1 };
  console.log(`--- left behind by the tests\n${leftovers.join("\n")}`);
  return { ...noCounts, failed: 1 };
}
