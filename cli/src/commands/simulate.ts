import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { contendersOf } from "@strata/controller/domain/simulate/contenders";
import { plotSvg } from "@strata/controller/domain/simulate/plot-svg";
import { plotTerminal } from "@strata/controller/domain/simulate/plot-terminal";

import type { Invocation } from "../command.ts";
import { type Context, print, say } from "../context.ts";
import { getFlag, getText } from "../options.ts";
import { readScenario } from "../simulation/read-scenario.ts";
import { type FinishedRun, runAll } from "../simulation/run.ts";
import { formatRuns } from "../simulation/table.ts";

export async function run({ context, args, options }: Invocation): Promise<void> {
  const [path = ""] = args;
  const { scenario, traces } = await readScenario(path);
  const contenders = contendersOf(scenario, traces);
  const wanted = getFlag(options, "alone") ? contenders.slice(0, 1) : contenders;
  const runs = await runAll(wanted, traces, context);
  if (getFlag(options, "json")) {
    print(context, JSON.stringify({ scenario: scenario.name, runs: runs.map(toJson) }));
  } else {
    print(context, formatRuns(runs));
    if (getFlag(options, "plot")) printPlots(context, runs);
  }
  const folder = getText(options, "svg");
  if (folder !== undefined) await writePlots(context, runs, folder);
}

function toJson({ name, report }: FinishedRun): { readonly name: string } {
  return { ...report, name };
}

/** Of the scenario itself: the others are there for their figures. */
function printPlots(context: Context, [own]: readonly FinishedRun[]): void {
  const width = Math.min(160, Math.max(40, (context.stdout.columns ?? 80) - 8));
  for (const series of own?.series ?? []) {
    print(context, `\n${plotTerminal(series, { width, height: 12 }).trimEnd()}`);
  }
}

/** `RUN-SUBSCRIPTION.svg` for each; what was there under that name is written over. */
async function writePlots(
  context: Context,
  runs: readonly FinishedRun[],
  folder: string,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const { name, series } of runs) {
    for (const one of series) {
      await writeFile(join(folder, `${name}-${one.name}.svg`), plotSvg(one));
    }
  }
  say(context, `plots are in ${folder}`);
}
