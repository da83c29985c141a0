/** Runs scenarios bit by bit, so that an interrupt ends them and a person sees how far they are. */
import { setImmediate } from "node:timers/promises";

import type { Contender } from "@strata/controller/domain/simulate/contenders";
import type { SimulationReport } from "@strata/controller/domain/simulate/meter";
import type { RunSeries } from "@strata/controller/domain/simulate/series";
import { beginSimulation } from "@strata/controller/domain/simulate/simulate";
import type { Traces } from "@strata/controller/domain/simulate/trace";

import { type Context, say } from "../context.ts";

export type FinishedRun = {
  readonly name: string;
  readonly report: SimulationReport;
  readonly series: readonly RunSeries[];
};

/** Short enough for an interrupt to be heard at once. */
const BITS = 200;

/** One run after the other. Throws the signal's reason once it is aborted. */
export async function runAll(
  contenders: readonly Contender[],
  traces: Traces,
  context: Context,
): Promise<readonly FinishedRun[]> {
  const finished: FinishedRun[] = [];
  for (const { name, scenario } of contenders) {
    const startedAt = context.now();
    const run = beginSimulation(scenario, traces);
    for (let bit = 1; bit <= BITS; bit += 1) {
      run.advance(bit / BITS);
      showShare(context, name, bit);
      await setImmediate();
      context.signal.throwIfAborted();
    }
    finished.push({ name, ...run.finish() });
    sayDone(context, name, context.now() - startedAt);
  }
  return finished;
}

/** Only a terminal can take a line back. */
function showShare({ stderr }: Context, name: string, bit: number): void {
  if (stderr.isTTY !== true) return;
  stderr.write(`\r\u001b[2K${name}: ${Math.floor((100 * bit) / BITS)} %`);
}

function sayDone(context: Context, name: string, ms: number): void {
  const takeBack = context.stderr.isTTY === true ? "\r\u001b[2K" : "";
  say(context, `${takeBack}${name}: simulated in ${(ms / 1000).toFixed(1)} s`);
}
