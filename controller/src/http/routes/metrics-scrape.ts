import { statSync } from "node:fs";
import { join } from "node:path";

import type { ProcessMetrics } from "@strata/protocol/agent/messages";

import { nodeState } from "../../domain/node.ts";
import { readSubscriptionCounts } from "../../loops/subscription-counts.ts";
import { listNodes } from "../../store/nodes.ts";
import { countUnplaced, listProcessOwners } from "../../store/process-owners.ts";
import { countProcessesByState, listProcessesOfSubscription } from "../../store/processes.ts";
import { countVmsByState } from "../../store/vms.ts";
import { EXPOSITION_TYPE, type Family, renderFamilies } from "../exposition.ts";
import { TenantQuery, tenantFilterOf } from "../read.ts";
import type { Answer, Router } from "../route.ts";
import type { Services } from "../services.ts";
import type { Telemetry } from "../telemetry.ts";

const answers: Record<number, Answer> = {
  200: { description: "Text exposition format.", contentType: "text/plain" },
};

/** Figures for Prometheus: of the installation without names, and for those who have a token, with them. */
export function addMetricsScrapeRoutes(router: Router, services: Services): void {
  router.add({
    method: "get",
    path: "/metrics",
    access: "public",
    summary: "Counts and times for Prometheus. Without names of tenants, processes or images.",
    answers,
    handle: async ({ c }) => {
      services.telemetry.setCounts(readCounts(services));
      const body = await services.telemetry.text();
      return c.body(body, 200, { "content-type": services.telemetry.contentType });
    },
  });
  router.add({
    method: "get",
    path: "/metrics/subscriptions",
    access: "viewer",
    summary: "For Prometheus, of each subscription: an admin sees those of every tenant.",
    query: TenantQuery,
    answers,
    handle: ({ query, caller, c }) => {
      const all = caller.scope === "admin" ? "*" : undefined;
      const tenant = tenantFilterOf(caller, query.tenant ?? all);
      const families = subscriptionFamilies(services, tenant);
      return c.body(renderFamilies(families), 200, { "content-type": EXPOSITION_TYPE });
    },
  });
  router.add({
    method: "get",
    path: "/metrics/processes",
    access: "viewer",
    summary: "For Prometheus, of each process: many series where there are many processes.",
    query: TenantQuery,
    answers,
    handle: ({ query, caller, c }) => {
      const all = caller.scope === "admin" ? "*" : undefined;
      const tenant = tenantFilterOf(caller, query.tenant ?? all);
      const families = processFamilies(services, tenant);
      return c.body(renderFamilies(families), 200, { "content-type": EXPOSITION_TYPE });
    },
  });
}

function readCounts(services: Services): Parameters<Telemetry["setCounts"]>[0] {
  const { store, presence, clock, history, config } = services;
  const { sql } = store;
  const nodes = listNodes(sql);
  const silences = nodes
    .filter((node) => node.presence === "present")
    .map(({ id }) => presence.silentMs(id, clock.monotonicMs()));
  const sizeOf = (...path: string[]): number =>
    statSync(join(config.dataDirectory, ...path), { throwIfNoEntry: false })?.size ?? 0;
  return {
    processes: countProcessesByState(sql),
    nodes: countBy(nodes.map(nodeState)),
    vms: countVmsByState(sql),
    unplaced: countUnplaced(sql),
    silenceMaxSeconds: Math.max(0, ...silences) / 1000,
    fileBytes: new Map([
      ["database", sizeOf("controller", "strata.db")],
      ["database-wal", sizeOf("controller", "strata.db-wal")],
      ["metrics", history.sizeBytes()],
      ["store", sizeOf("store", "store.db")],
    ]),
  };
}

function countBy(values: readonly string[]): ReadonlyMap<string, number> {
  const groups = Map.groupBy(values, (value) => value);
  return new Map([...groups].map(([value, all]) => [value, all.length]));
}

function subscriptionFamilies(
  { store, network: { traffic } }: Services,
  tenant: string | undefined,
): readonly Family[] {
  const counts = readSubscriptionCounts(store.sql).filter(
    (one) => tenant === undefined || one.tenant === tenant,
  );
  const seen = counts.map((one) => ({ ...one, traffic: traffic.ofService(one.id) }));
  const inFlight = (id: string): number =>
    listProcessesOfSubscription(store.sql, id).reduce(
      (sum, process) => sum + (traffic.ofProcess(process.id)?.inFlight ?? 0),
      0,
    );
  const family = (
    [name, help]: readonly [name: string, help: string],
    of: (one: (typeof seen)[number]) => number | undefined,
  ): Family => ({
    name: `strata_subscription_${name}`,
    help,
    type: name.endsWith("_total") ? "counter" : "gauge",
    samples: seen.flatMap((one) => {
      const value = of(one);
      const labels = { tenant: one.tenant, subscription: one.alias };
      return value === undefined ? [] : [{ labels, value }];
    }),
  });
  return [
    family(["wished", "Processes that there shall be."], (one) => one.wished),
    family(["ready", "Processes that are ready."], (one) => one.ready),
    family(
      ["requests_total", "Requests through the ingress nodes."],
      (one) => one.traffic?.requestsTotal,
    ),
    family(
      ["errors_total", "Of those: no answer, or one of status 5xx."],
      (one) => one.traffic?.errorsTotal,
    ),
    family(["in_flight", "Requests under way, those that wait included."], (one) =>
      one.traffic === undefined ? undefined : inFlight(one.id),
    ),
    family(["queued", "Requests that wait for a process."], (one) => one.traffic?.queued),
    family(["latency_seconds", "Mean time from a request to the end of its answer."], (one) =>
      one.traffic === undefined ? undefined : one.traffic.latencyMs / 1000,
    ),
  ];
}

type ProcessFamily = Omit<Family, "samples"> & {
  /** Undefined where the node does not know it. */
  readonly of: (metrics: ProcessMetrics) => number | undefined;
};

const counter = (name: string, help: string, of: ProcessFamily["of"]): ProcessFamily => ({
  name,
  help,
  type: "counter",
  of,
});
const gauge = (name: string, help: string, of: ProcessFamily["of"]): ProcessFamily => ({
  name,
  help,
  type: "gauge",
  of,
});

const ofProcesses: readonly ProcessFamily[] = [
  counter("strata_process_cpu_seconds_total", "Processor time.", (of) => of.cpuUsageUs / 1e6),
  gauge("strata_process_memory_bytes", "Memory without page cache.", (of) => of.memoryBytes),
  gauge("strata_process_pids", "Tasks.", (of) => of.pids),
  gauge(
    "strata_process_in_flight",
    "Established connections to its ports.",
    (of) => of.connections,
  ),
  counter(
    "strata_process_network_receive_bytes_total",
    "Bytes received.",
    (of) => of.networkRxBytes,
  ),
  counter("strata_process_network_transmit_bytes_total", "Bytes sent.", (of) => of.networkTxBytes),
  counter("strata_process_io_read_bytes_total", "Read from disks.", (of) => of.ioReadBytes),
  counter("strata_process_io_write_bytes_total", "Written to disks.", (of) => of.ioWriteBytes),
  counter("strata_process_oom_kills_total", "Kills for want of memory.", (of) => of.oomKills),
];

function processFamilies(
  { store, samples }: Services,
  tenant: string | undefined,
): readonly Family[] {
  const nodeNames = new Map(listNodes(store.sql).map(({ id, name }) => [id, name]));
  const ids = [...samples.values()].flatMap((ofNode) => [...ofNode.keys()]);
  const owners = new Map(listProcessOwners(store.sql, ids).map((owner) => [owner.id, owner]));
  const shown = [...samples].flatMap(([nodeId, ofNode]) =>
    [...ofNode].flatMap(([process, metrics]) => {
      const owner = owners.get(process);
      const node = nodeNames.get(nodeId);
      if (owner === undefined || node === undefined) return [];
      if (tenant !== undefined && owner.tenant !== tenant) return [];
      const labels = { tenant: owner.tenant, subscription: owner.alias, process, node };
      return [{ labels, metrics }];
    }),
  );
  return ofProcesses.map(({ of, ...family }) => ({
    ...family,
    samples: shown.flatMap(({ labels, metrics }) => {
      const value = of(metrics);
      return value === undefined ? [] : [{ labels, value }];
    }),
  }));
}
