import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

import { type CoreMetrics, createCoreMetrics } from "./core-metrics.ts";

/** What /metrics shows. Counts only: no names of tenants, processes or images. */
export type Telemetry = CoreMetrics & {
  readonly requestDone: (labels: RequestLabels, seconds: number) => void;
  readonly tickDone: (loop: string, seconds: number) => void;
  readonly providerCalled: (call: { readonly method: string; readonly outcome: string }) => void;
  readonly backupDone: (done: { readonly atMs: number; readonly ok: boolean }) => void;
  readonly text: () => Promise<string>;
  readonly contentType: string;
};

type RequestLabels = { readonly method: string; readonly route: string; readonly status: string };

/** Gauges that end like counters, which Prometheus warns of; each is the sum of one that stays. */
const misnamed = ["handles", "requests", "resources"].map((what) => `nodejs_active_${what}_total`);

export function createTelemetry(): Telemetry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const name of misnamed) registry.removeSingleMetric(name);
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
  const core = createCoreMetrics(registers);
  const providerCalls = new Counter({
    name: "strata_provider_calls_total",
    help: "Ended calls to providers of VMs, by what was asked and how it ended.",
    labelNames: ["method", "outcome"],
    registers,
  });
  return {
    backupDone: createBackupMetrics(registers),
    providerCalled: (call) => providerCalls.inc(call),
    requestDone: ({ method, route, status }, seconds) =>
      requests.observe({ method, route, status }, seconds),
    tickDone: (loop, seconds) => {
      ticks.observe({ loop }, seconds);
    },
    ...core,
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

function createBackupMetrics(registers: Registry[]): Telemetry["backupDone"] {
  const backups = new Counter({
    name: "strata_backups_total",
    help: "Scheduled backups, by how they ended.",
    labelNames: ["outcome"],
    registers,
  });
  const lastBackup = new Gauge({
    name: "strata_backup_last_success_timestamp_seconds",
    help: "When the last scheduled backup of this life of the controller was made; 0 before it.",
    registers,
  });
  return ({ atMs, ok }) => {
    backups.inc({ outcome: ok ? "ok" : "failed" });
    if (ok) lastBackup.set(atMs / 1000);
  };
}
