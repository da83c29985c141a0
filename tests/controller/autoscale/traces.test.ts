import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { asKubernetes } from "@strata/controller/domain/simulate/baselines";
import {
  type Scenario,
  ScenarioInput,
  traceNames,
} from "@strata/controller/domain/simulate/scenario";
import { simulate } from "@strata/controller/domain/simulate/simulate";
import { parseTraceCsv, type TraceSample } from "@strata/controller/domain/simulate/trace";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const folder = join(import.meta.dirname, "../../../examples/traces");
const names = ["diurnal-web", "bursty-event", "business-hours"] as const;

/** Two days, of which the first is for learning: the whole week belongs to the benchmark. */
const DURATION_MS = 2 * 86_400_000;

function shipped(name: string): {
  readonly scenario: Scenario;
  readonly traces: Record<string, readonly TraceSample[]>;
} {
  const scenario = ScenarioInput.parse(
    JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")),
  );
  const traces = Object.fromEntries(
    traceNames(scenario).map((file) => [
      file,
      parseTraceCsv(readFileSync(join(folder, file), "utf8")),
    ]),
  );
  return { scenario: { ...scenario, duration: DURATION_MS }, traces };
}

suite("shipped traces", (test) => {
  test("are what their script writes", async () => {
    await using copy = aTemporaryDirectory();
    cpSync(join(folder, "generate.ts"), join(copy.path, "generate.ts"));
    execFileSync(process.execPath, [join(copy.path, "generate.ts")]);
    const digest = (path: string): string =>
      createHash("sha256").update(readFileSync(path)).digest("hex");
    for (const name of names) {
      assert.is(digest(join(copy.path, `${name}.csv`)), digest(join(folder, `${name}.csv`)), name);
    }
  });

  test("are a week each, sampled every minute", () => {
    for (const name of names) {
      const { scenario, traces } = shipped(name);
      const samples = traces[traceNames(scenario)[0] ?? ""] ?? [];
      assert.equal([samples.length, samples.at(-1)?.at], [7 * 1440, (7 * 1440 - 1) * 60_000]);
    }
  });

  for (const name of names) {
    test(
      `cost less with fewer changes and violations than HPA and cluster-autoscaler by their defaults: ${name}`,
      () => {
        const { scenario, traces } = shipped(name);
        const ours = simulate(scenario, traces).report;
        const theirs = simulate(asKubernetes(scenario), traces).report;
        assert.ok(
          ours.violated <= theirs.violated,
          `${ours.violatedShare} and ${theirs.violatedShare} violated`,
        );
        assert.ok(ours.cost <= 0.9 * theirs.cost, `${ours.cost} and ${theirs.cost}`);
        assert.ok(ours.changes < theirs.changes, `${ours.changes} and ${theirs.changes} changes`);
      },
      { timeoutMs: 300_000 },
    );
  }
});
