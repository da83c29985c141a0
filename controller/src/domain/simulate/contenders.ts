/** Who takes part in a comparison: the scenario as it is written, and what others would make of it. */
import { asFixedPeak, asKubernetes } from "./baselines.ts";
import type { Scenario } from "./scenario.ts";
import { peakLoads } from "./simulate.ts";
import type { Traces } from "./trace.ts";

export type Contender = { readonly name: string; readonly scenario: Scenario };

/** What `strata` is measured against. */
export const BASELINE = "kubernetes";

/** The scenario first, then Kubernetes with default targets, the same with the scenario's targets, and enough for
 * the highest load all the time. */
export function contendersOf(scenario: Scenario, traces: Traces): readonly Contender[] {
  return [
    { name: "strata", scenario },
    { name: BASELINE, scenario: asKubernetes(scenario) },
    { name: "kubernetes-same-target", scenario: asKubernetes(scenario, "same") },
    { name: "fixed-peak", scenario: asFixedPeak(scenario, peakLoads(scenario, traces)) },
  ];
}
