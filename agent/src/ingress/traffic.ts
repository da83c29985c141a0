import type { NetworkReport } from "@strata/protocol/agent/network";

import type { RoutePlan } from "./plan-ingress.ts";
import type { ServerStat } from "./read-haproxy.ts";
import { backendName } from "./render-config.ts";

/** What one worker of HAProxy counts, since it began. */
export type WorkerStats = { readonly pid: number; readonly stats: readonly ServerStat[] };

export type TrafficReport = Pick<NetworkReport, "endpoints" | "services">;

export type TrafficOptions = {
  /** Answered by the waker on behalf of a process: they are no longer waiting. */
  readonly woken: ReadonlyMap<string, number>;
  /** Workers that a reload has replaced may still send these something that is on its way. */
  readonly mayGetMore: boolean;
};

/** The waker's name among the servers of a backend. */
const WAKER = "waker";

type Totals = { requests: number; errors: number };
type Now = { inFlight: number; readonly totals: Totals };
type ServiceNow = Totals & { queued: number; slowness: number; weight: number };

/** Adds up what several workers, one after the other and beside each other, have counted: every reload brings one that
 * begins at 0. */
export class TrafficBook {
  #seen: ReadonlyMap<string, Totals> = new Map();
  readonly #processes = new Map<string, Totals>();
  readonly #services = new Map<string, Totals>();

  take(
    workers: readonly WorkerStats[],
    routes: readonly RoutePlan[],
    { woken, mayGetMore }: TrafficOptions,
  ): TrafficReport {
    const byBackend = new Map(routes.map((plan) => [backendName(plan.route), plan]));
    const processes = new Map<string, Now>();
    const services = new Map<string, ServiceNow>();
    for (const plan of routes) this.#enter(plan, { processes, services, mayGetMore });
    const seen = new Map<string, Totals>();
    for (const { pid, stats } of workers) {
      for (const stat of stats) {
        const plan = byBackend.get(stat.backend);
        const key = `${pid} ${stat.backend} ${stat.name}`;
        seen.set(key, { requests: stat.requests, errors: stat.errors });
        if (plan === undefined) continue;
        const grown = difference(stat, this.#seen.get(key));
        addUp(stat, plan, { processes, services, grown, woken });
      }
    }
    this.#seen = seen;
    retain(this.#processes, processes);
    retain(this.#services, services);
    for (const [id, inFlight] of woken) {
      const process = processes.get(id);
      if (process !== undefined) process.inFlight += inFlight;
    }
    return describe(processes, services);
  }

  /** All that is routed to is in the report, with what it had in the last one. */
  #enter({ servers, route }: RoutePlan, { processes, services, mayGetMore }: Entering): void {
    for (const [id, { takesNew, service }] of servers) {
      if (!processes.has(id)) {
        const totals = entry(this.#processes, id);
        processes.set(id, { inFlight: mayGetMore && !takesNew ? 1 : 0, totals });
      }
      if (!services.has(service)) services.set(service, this.#service(service));
    }
    for (const { service } of route.backends) {
      if (!services.has(service)) services.set(service, this.#service(service));
    }
  }

  #service(id: string): ServiceNow {
    return Object.assign(entry(this.#services, id), { queued: 0, slowness: 0, weight: 0 });
  }
}

type Entering = {
  readonly processes: Map<string, Now>;
  readonly services: Map<string, ServiceNow>;
  readonly mayGetMore: boolean;
};

type Adding = {
  readonly processes: ReadonlyMap<string, Now>;
  readonly services: ReadonlyMap<string, ServiceNow>;
  readonly grown: Totals;
  readonly woken: ReadonlyMap<string, number>;
};

function addUp(
  stat: ServerStat,
  { route, servers, wakes }: RoutePlan,
  { processes, services, grown, woken }: Adding,
): void {
  const [first] = route.backends;
  const ofRoute = first && services.get(first.service);
  if (stat.name === "BACKEND") {
    if (ofRoute !== undefined) ofRoute.queued += stat.queued;
    return;
  }
  if (stat.name === WAKER && wakes) {
    const answered = [...servers.keys()].reduce((sum, id) => sum + (woken.get(id) ?? 0), 0);
    const waiting = Math.max(0, stat.inFlight + stat.queued - answered);
    if (ofRoute !== undefined) ofRoute.queued += waiting;
    return;
  }
  const server = servers.get(stat.name);
  const process = processes.get(stat.name);
  if (server === undefined || process === undefined) return;
  process.inFlight += stat.inFlight;
  process.totals.requests += grown.requests;
  process.totals.errors += grown.errors;
  const service = services.get(server.service);
  if (service === undefined) return;
  service.queued += stat.queued;
  service.requests += grown.requests;
  service.errors += grown.errors;
  // A mean of means, each as heavy as what it is the mean of.
  const weight = Math.min(stat.requests, 1024);
  service.slowness += stat.totalMs * weight;
  service.weight += weight;
}

/** A server that was removed and added again, like a new worker of an old pid, begins at 0. */
function difference(now: Totals, before: Totals | undefined): Totals {
  if (before === undefined || now.requests < before.requests) return now;
  return {
    requests: now.requests - before.requests,
    errors: Math.max(0, now.errors - before.errors),
  };
}

function entry(totals: Map<string, Totals>, id: string): Totals {
  const known = totals.get(id) ?? { requests: 0, errors: 0 };
  totals.set(id, known);
  return known;
}

function retain(totals: Map<string, Totals>, known: ReadonlyMap<string, unknown>): void {
  for (const id of totals.keys()) if (!known.has(id)) totals.delete(id);
}

function describe(
  processes: ReadonlyMap<string, Now>,
  services: ReadonlyMap<string, ServiceNow>,
): TrafficReport {
  return {
    endpoints: [...processes].map(([processId, { inFlight, totals }]) => ({
      processId,
      inFlight,
      requests: totals.requests,
      errors: totals.errors,
    })),
    services: [...services].map(([id, { queued, requests, errors, slowness, weight }]) => ({
      id,
      queued,
      requests,
      errors,
      latencyMs: weight === 0 ? 0 : slowness / weight,
    })),
  };
}
