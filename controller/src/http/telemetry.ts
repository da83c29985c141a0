import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

/** What /metrics shows. Counts only: no names of tenants, processes or images. */
export type Telemetry = {
  readonly requestDone: (labels: RequestLabels, seconds: number) => void;
  readonly tickDone: (loop: string, seconds: number) => void;
  readonly providerCalled: (call: { readonly method: string; readonly outcome: string }) => void;
  readonly setCounts: (counts: { processes: Tally; nodes: Tally; vms: Tally }) => void;
  readonly text: () => Promise<string>;
  readonly contentType: string;
};

type RequestLabels = { readonly method: string; readonly route: string; readonly status: string };
type Tally = ReadonlyMap<string, number>;

export function createTelemetry(): Telemetry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const requests = new Histogram({
    name: "strata_http_request_seconds",
    help: "Time from the head of a request to the head of its answer.",
    labelNames: ["method", "route", "status"],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60],
    registers,
  });
  const ticks = new Histogram({
    name: "strata_loop_tick_seconds",
    help: "Time of one tick of a loop.",
    labelNames: ["loop"],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
    registers,
  });
  const processes = new Gauge({
    name: "strata_processes",
    help: "Cartridge processes by state.",
    labelNames: ["state"],
    registers,
  });
  const nodes = new Gauge({
    name: "strata_nodes",
    help: "Nodes by state.",
    labelNames: ["state"],
    registers,
  });
  const vms = new Gauge({
    name: "strata_vms",
    help: "VMs by state.",
    labelNames: ["state"],
    registers,
  });
  const providerCalls = new Counter({
    name: "strata_provider_calls_total",
    help: "Ended calls to providers of VMs, by what was asked and how it ended.",
    labelNames: ["method", "outcome"],
    registers,
  });
  return {
    providerCalled: (call) => providerCalls.inc(call),
    requestDone: ({ method, route, status }, seconds) =>
      requests.observe({ method, route, status }, seconds),
    tickDone: (loop, seconds) => {
      ticks.observe({ loop }, seconds);
    },
    setCounts: (counts) => {
      setAll(processes, counts.processes);
      setAll(nodes, counts.nodes);
      setAll(vms, counts.vms);
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

function setAll(gauge: Gauge<"state">, tally: Tally): void {
  gauge.reset();
  for (const [state, count] of tally) gauge.set({ state }, count);
}
