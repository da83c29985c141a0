/** What the core says of itself at /metrics: counts of the moment, and what commits tell. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";

import type { Changes } from "../store/unit.ts";

type Tally = ReadonlyMap<string, number>;

/** Counted when somebody asks. */
export type Counts = {
  readonly processes: Tally;
  readonly nodes: Tally;
  readonly vms: Tally;
  readonly unplaced: number;
  readonly silenceMaxSeconds: number;
  readonly fileBytes: Tally;
};

export type CoreMetrics = {
  readonly setCounts: (counts: Counts) => void;
  readonly committed: (changes: Pick<Changes, "events" | "waits">) => void;
};

const waitBuckets = [0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300];

export function createCoreMetrics(registers: Registry[]): CoreMetrics {
  const setCounts = createCounts(registers);
  const events = new Counter({
    name: "strata_events_total",
    help: "Events written, by type.",
    labelNames: ["type"],
    registers,
  });
  const waits = {
    placement: new Histogram({
      name: "strata_placement_seconds",
      help: "From the wish for a process to its placement on a node.",
      buckets: waitBuckets,
      registers,
    }),
    start: new Histogram({
      name: "strata_process_start_seconds",
      help: "From the placement of a process until it is ready.",
      buckets: waitBuckets,
      registers,
    }),
  };
  return {
    setCounts,
    committed: (changes) => {
      for (const { type } of changes.events) events.inc({ type });
      for (const { what, ms } of changes.waits) waits[what].observe(Math.max(0, ms) / 1000);
    },
  };
}

function createCounts(registers: Registry[]): CoreMetrics["setCounts"] {
  const byState = (name: string, help: string): Gauge<"state"> =>
    new Gauge({ name, help, labelNames: ["state"], registers });
  const processes = byState("strata_processes", "Cartridge processes by state.");
  const nodes = byState("strata_nodes", "Nodes by state.");
  const vms = byState("strata_vms", "VMs by state.");
  const unplaced = new Gauge({
    name: "strata_processes_unplaced",
    help: "Processes that shall run and have no node.",
    registers,
  });
  const silence = new Gauge({
    name: "strata_node_silence_max_seconds",
    help: "Time since the last report of the present node that is silent longest.",
    registers,
  });
  const files = new Gauge({
    name: "strata_file_bytes",
    help: "Size of the controller's databases.",
    labelNames: ["file"],
    registers,
  });
  return (counts) => {
    setAll(processes, counts.processes);
    setAll(nodes, counts.nodes);
    setAll(vms, counts.vms);
    unplaced.set(counts.unplaced);
    silence.set(counts.silenceMaxSeconds);
    for (const [file, bytes] of counts.fileBytes) files.set({ file }, bytes);
  };
}

function setAll(gauge: Gauge<"state">, tally: Tally): void {
  gauge.reset();
  for (const [state, count] of tally) gauge.set({ state }, count);
}
