/** Reports side by side. */
import { BASELINE } from "@strata/controller/domain/simulate/contenders";

import { formatTable } from "../output/table.ts";
import type { FinishedRun } from "./run.ts";

const titles = [
  "RUN",
  "COST",
  `AGAINST ${BASELINE.toUpperCase()}`,
  "VIOLATED",
  "SECONDS VIOLATED",
  "UTILISATION",
  "ALLOCATED",
  "CHANGES",
  "MOVES",
  "NODES AT MOST",
];

/** One line for each run; what is compared is blank where there is nothing to compare with. */
export function formatRuns(runs: readonly FinishedRun[]): string {
  const baseline = runs.find(({ name }) => name === BASELINE)?.report.cost;
  return formatTable(
    titles,
    runs.map(({ name, report }) => [
      name,
      report.cost.toFixed(2),
      baseline === undefined || name === BASELINE ? "" : difference(report.cost, baseline),
      percent(report.violatedShare, 3),
      String(report.violationSeconds),
      percent(report.utilisation, 1),
      percent(report.allocation, 1),
      String(report.changes),
      String(report.moves),
      String(report.peakNodes),
    ]),
  );
}

function difference(cost: number, baseline: number): string {
  if (baseline === 0) return "";
  const change = 100 * (cost / baseline - 1);
  return `${change > 0 ? "+" : ""}${change.toFixed(1)} %`;
}

function percent(share: number, digits: number): string {
  return `${(100 * share).toFixed(digits)} %`;
}
