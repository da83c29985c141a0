/** `node scripts/benches/main.ts NAME [--json] [--rounds N] [--write]`: see scripts/bench. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";

import { parseOptions } from "../parse-options.ts";
import { removeTree } from "../remove-tree.ts";
import { root } from "../root.ts";
import type { Bench, BenchReport } from "./bench.ts";
import { renderTable, replaceSection } from "./render.ts";

const ROUNDS_MAX = 10_000;

/** Loaded when asked for: a bench brings its peers' code with it. */
const benches: Readonly<Record<string, () => Promise<{ readonly bench: Bench }>>> = {
  autoscale: () => import("./autoscale.ts"),
  "control-plane": () => import("./control-plane.ts"),
  density: () => import("./density.ts"),
  ingress: () => import("./ingress.ts"),
  pull: () => import("./pull.ts"),
  scheduler: () => import("./scheduler.ts"),
  simulate: () => import("./simulate.ts"),
  start: () => import("./start.ts"),
  store: () => import("./store.ts"),
};

const { values, positionals } = parseOptions("scripts/bench", {
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string" },
    write: { type: "boolean", default: false },
  },
});
const load = benches[positionals[0] ?? ""];
const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
if (load === undefined || (rounds !== undefined && !(rounds >= 1 && rounds <= ROUNDS_MAX))) {
  console.error(`usage: scripts/bench NAME [--json] [--rounds N] [--write]`);
  console.error(
    `       NAME is one of ${Object.keys(benches).join(", ")}; N from 1 to ${ROUNDS_MAX}`,
  );
  process.exit(2);
}

const { bench } = await load();
const folder = mkdtempSync(join(tmpdir(), "strata-bench-"));
const say = (line: string): void => console.error(`${bench.name}: ${line}`);
try {
  const report = await bench.run({ rounds: rounds ?? bench.rounds, say, folder });
  print(report);
} finally {
  await removeTree(folder);
}

function print(report: BenchReport): void {
  const machine = describeMachine();
  if (values.json) {
    console.log(JSON.stringify({ name: bench.name, machine, ...report }));
  } else {
    console.log(`${bench.name}: ${bench.summary}\n${machine}\n\n${renderTable(report)}`);
  }
  if (!values.write) return;
  const path = join(root, "docs/benchmarks.md");
  const day = new Date().toISOString().slice(0, 10);
  const section = `## ${bench.name}\n\n${bench.summary}. ${machine}, ${day}.\n\n${renderTable(report)}`;
  writeFileSync(path, replaceSection(readFileSync(path, "utf8"), bench.name, section));
}

function describeMachine(): string {
  const [cpu] = cpus();
  const system = /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
  const gibibytes = Math.round(totalmem() / 1024 ** 3);
  return `${cpus().length} x ${cpu?.model.trim() ?? "unknown"}, ${gibibytes} GiB, ${system}, kernel ${release()}`;
}
