import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { readScenario } from "@strata/cli/simulation/read-scenario";
import { BASELINE, contendersOf } from "@strata/controller/domain/simulate/contenders";
import type { SimulationReport } from "@strata/controller/domain/simulate/meter";
import { plotSvg } from "@strata/controller/domain/simulate/plot-svg";
import type { Scenario } from "@strata/controller/domain/simulate/scenario";
import type { RunSeries } from "@strata/controller/domain/simulate/series";
import { simulate, type SimulationResult } from "@strata/controller/domain/simulate/simulate";
import type { Traces } from "@strata/controller/domain/simulate/trace";

import { root } from "../root.ts";
import type { Bench, BenchContext, Goal, Result } from "./bench.ts";
import { goalAtMost, goalBound, summarize } from "./measure.ts";
import { THOUSAND_NODES, thousandNodes } from "./thousand-nodes.ts";

const scenarios = ["diurnal-web", "bursty-event", "business-hours"] as const;
/** The goal of the project: a quarter cheaper than the baseline. */
const COST_SHARE_MAX = 0.75;
const DAY_SECONDS_MAX = 60;
/** Every third point: enough for the width of a page. */
const PLOT_THINNING = 3;

/** Figures of a report that are set side by side. */
const figures: readonly {
  readonly what: string;
  readonly unit: string;
  readonly of: (report: SimulationReport) => number;
}[] = [
  { what: "cost", unit: "money", of: ({ cost }) => cost },
  { what: "violated", unit: "ppm", of: ({ violatedShare }) => violatedShare * 1e6 },
  { what: "changes", unit: "", of: ({ changes }) => changes },
  { what: "moves", unit: "", of: ({ moves }) => moves },
  { what: "nodes added", unit: "", of: ({ nodesAdded }) => nodesAdded },
  { what: "utilisation", unit: "%", of: ({ utilisation }) => utilisation * 100 },
  { what: "allocated", unit: "%", of: ({ allocation }) => allocation * 100 },
];

/** The shipped scenarios, each round with another seed for all contenders alike; then how fast the simulator is. The
 * plots of the first round go to docs/plots. */
export const bench: Bench = {
  name: "simulate",
  summary:
    "A simulated week of each shipped scenario beside the baselines, and the processor's time for a simulated day of 1,000 nodes",
  rounds: 3,
  run: async (context) => {
    const compared = [];
    for (const name of scenarios) compared.push(await compare(name, context));
    const speed = measureSpeed();
    return {
      results: [...compared.flatMap(({ results }) => results), speed],
      goals: [...compared.flatMap(({ goals }) => goals), goalBound(speed, DAY_SECONDS_MAX)],
    };
  },
};

async function compare(
  name: string,
  { rounds, say }: BenchContext,
): Promise<{ readonly results: readonly Result[]; readonly goals: readonly Goal[] }> {
  const { scenario, traces } = await readScenario(join(root, `examples/traces/${name}.json`));
  const reports = new Map<string, SimulationReport[]>();
  for (let round = 1; round <= rounds; round += 1) {
    for (const [contender, { report, series }] of runAll({ ...scenario, seed: round }, traces)) {
      reports.set(contender, [...(reports.get(contender) ?? []), report]);
      if (round === 1) writePlots(name, contender, series);
    }
    say(`${name}: seed ${round} of ${rounds}`);
  }
  const results = figures.map(({ what, unit, of }) => {
    const samples = new Map([...reports].map(([contender, some]) => [contender, some.map(of)]));
    const result = summarize(`${name}: ${what}`, unit, samples);
    // Where neither violates anything there is nothing to divide.
    return { ...result, ratio: Number.isFinite(result.ratio) ? result.ratio : null };
  });
  const [cost, violated, changes] = results;
  return {
    results,
    goals: [
      ...(cost === undefined ? [] : [goalAtMost(cost, BASELINE, COST_SHARE_MAX)]),
      ...[violated, changes].flatMap((result) =>
        result === undefined ? [] : [notMore(result, BASELINE)],
      ),
    ],
  };
}

function runAll(
  scenario: Scenario,
  traces: Traces,
): readonly (readonly [string, SimulationResult])[] {
  return contendersOf(scenario, traces).map((contender) => [
    contender.name,
    simulate(contender.scenario, traces),
  ]);
}

/** A goal that also holds where both are zero. */
function notMore({ what, ours, peers }: Result, peer: string): Goal {
  const bound = peers[peer] ?? Number.NaN;
  return { what, goal: `at most the ${bound} of ${peer}`, value: ours, met: ours <= bound };
}

function writePlots(name: string, contender: string, series: readonly RunSeries[]): void {
  if (contender !== "strata" && contender !== BASELINE) return;
  const folder = join(root, "docs/plots");
  mkdirSync(folder, { recursive: true });
  for (const { points } of series) {
    const thin = points.filter((_, index) => index % PLOT_THINNING === 0);
    const svg = plotSvg({ name: `${name}, ${contender}`, points: thin });
    writeFileSync(join(folder, `${name}-${contender}.svg`), svg);
  }
}

/** Time of the processor, which other work on the machine does not change much. */
function measureSpeed(): Result {
  const scenario = thousandNodes();
  const before = process.cpuUsage();
  const { nodeHours } = simulate(scenario).report;
  const { user, system } = process.cpuUsage(before);
  if (nodeHours < 24 * THOUSAND_NODES) {
    throw new Error(`only ${Math.round(nodeHours / 24)} nodes on average`);
  }
  return summarize("a day of 1,000 nodes", "s", new Map([["strata", [(user + system) / 1e6]]]));
}
