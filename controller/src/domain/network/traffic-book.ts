/** What goes through the ingress nodes, as they counted it: rates from counters, the sum of all of them. Kept in memory,
 * since old figures are worth nothing. */
import type { NetworkReport } from "@strata/protocol/agent/network";

export type ProcessTraffic = {
  /** Under way, with its share of those that wait for any process of its subscription. Undefined for one that no
   * ingress has ever led a request to: it may be asked in other ways. */
  readonly inFlight: number | undefined;
  /** A second; undefined before there are two counts to compare. */
  readonly requests: number | undefined;
};

export type ServiceTraffic = {
  /** A second. */
  readonly requests: number;
  readonly errors: number;
  readonly queued: number;
  /** Mean, from the request to the end of its answer. */
  readonly latencyMs: number;
  /** Since this controller began. */
  readonly requestsTotal: number;
  readonly errorsTotal: number;
};

export type TrafficBook = {
  /** `readyOf` are the processes that a service's requests go to. */
  readonly take: (
    nodeId: string,
    report: NetworkReport,
    context: {
      readonly at: number;
      readonly readyOf: (serviceId: string) => readonly string[];
    },
  ) => void;
  /** Undefined for one that no ingress leads to, and where all figures are old. */
  readonly ofProcess: (processId: string) => ProcessTraffic | undefined;
  readonly ofService: (serviceId: string) => ServiceTraffic | undefined;
  /** The time of the newest report of anybody, by which the others are judged. */
  readonly noteTime: (at: number) => void;
  readonly forget: (nodeId: string) => void;
};

/** A report that is this much older than the newest of anybody is missing: three of an ingress' own intervals. */
const STALE_MS = 3000;
/** Rates are measured over at least this long: reports may come in quick succession. */
const SPAN_MS_MIN = 900;
const READINGS_MAX = 64;

type Reading = { readonly at: number; readonly requests: number; readonly errors: number };

type Counted = { readonly readings: readonly Reading[]; readonly now: number };

type Ingress = {
  readonly bootId: string;
  readonly at: number;
  readonly processes: ReadonlyMap<string, Counted>;
  readonly services: ReadonlyMap<string, Counted & { readonly latencyMs: number }>;
  /** Of each process its share of what waits. */
  readonly shares: ReadonlyMap<string, number>;
};

export function createTrafficBook(): TrafficBook {
  const ingresses = new Map<string, Ingress>();
  const totals = new Map<string, { requests: number; errors: number }>();
  let newest = -Infinity;
  const fresh = (): readonly Ingress[] =>
    [...ingresses.values()].filter(({ at }) => newest - at <= STALE_MS);
  const addTotals = (before: Ingress | undefined, now: Ingress): void => {
    for (const [id, { readings }] of now.services) {
      const last = readings.at(-1);
      if (last === undefined) continue;
      const known = before?.services.get(id)?.readings.at(-1);
      const total = totals.get(id) ?? { requests: 0, errors: 0 };
      total.requests += Math.max(0, last.requests - (known?.requests ?? 0));
      total.errors += Math.max(0, last.errors - (known?.errors ?? 0));
      totals.set(id, total);
    }
  };
  return {
    noteTime: (at) => {
      newest = Math.max(newest, at);
    },
    take: (nodeId, report, { at, readyOf }) => {
      newest = Math.max(newest, at);
      const known = ingresses.get(nodeId);
      const before = known?.bootId === report.bootId ? known : undefined;
      if (before !== undefined && at <= before.at) return;
      const next = toIngress(report, { at, before, readyOf });
      // What it counted before this controller began is none of this controller's.
      if (known !== undefined) addTotals(before, next);
      ingresses.set(nodeId, next);
    },
    forget: (nodeId) => void ingresses.delete(nodeId),
    ofProcess: (processId) => {
      const said = fresh().flatMap((ingress) => {
        const counted = ingress.processes.get(processId);
        const share = ingress.shares.get(processId) ?? 0;
        return counted === undefined ? [] : [{ ...counted, share }];
      });
      if (said.length === 0) return undefined;
      const isUsed = said.some(
        ({ readings, now, share }) => now + share + (readings.at(-1)?.requests ?? 0) > 0,
      );
      const rates = said.flatMap(({ readings }) => rateOf(readings, "requests") ?? []);
      return {
        inFlight: isUsed ? sum(said.map(({ now, share }) => now + share)) : undefined,
        requests: rates.length === 0 ? undefined : sum(rates),
      };
    },
    ofService: (serviceId) => {
      const said = fresh().flatMap((ingress) => ingress.services.get(serviceId) ?? []);
      if (said.length === 0) return undefined;
      const rate = (what: "requests" | "errors"): number =>
        sum(said.map(({ readings }) => rateOf(readings, what) ?? 0));
      const weights = said.map(({ readings }) => rateOf(readings, "requests") ?? 0);
      const weighted = said.map(({ latencyMs }, index) => latencyMs * (weights[index] ?? 0));
      const { requests = 0, errors = 0 } = totals.get(serviceId) ?? {};
      return {
        requests: rate("requests"),
        errors: rate("errors"),
        queued: sum(said.map(({ now }) => now)),
        latencyMs: sum(weights) === 0 ? (said[0]?.latencyMs ?? 0) : sum(weighted) / sum(weights),
        requestsTotal: requests,
        errorsTotal: errors,
      };
    },
  };
}

function toIngress(
  { bootId, endpoints, services }: NetworkReport,
  {
    at,
    before,
    readyOf,
  }: {
    readonly at: number;
    readonly before: Ingress | undefined;
    readonly readyOf: (serviceId: string) => readonly string[];
  },
): Ingress {
  const shares = new Map<string, number>();
  for (const { id, queued } of services) {
    const ready = queued === 0 ? [] : readyOf(id);
    for (const processId of ready) shares.set(processId, queued / ready.length);
  }
  return {
    bootId,
    at,
    shares,
    processes: new Map(
      endpoints.map(({ processId, inFlight, requests, errors }) => {
        const readings = before?.processes.get(processId)?.readings ?? [];
        return [processId, { now: inFlight, readings: add(readings, { at, requests, errors }) }];
      }),
    ),
    services: new Map(
      services.map(({ id, queued, requests, errors, latencyMs }) => {
        const readings = before?.services.get(id)?.readings ?? [];
        return [id, { now: queued, latencyMs, readings: add(readings, { at, requests, errors }) }];
      }),
    ),
  };
}

/** The readings that the newest one is measured against: the first is the youngest that is old enough. */
function add(readings: readonly Reading[], reading: Reading): readonly Reading[] {
  const last = readings.at(-1);
  // A server that was taken out and put in again counts anew.
  if (last !== undefined && reading.requests < last.requests) return [reading];
  const from = readings.findLastIndex(({ at }) => at <= reading.at - SPAN_MS_MIN);
  return [...readings.slice(Math.max(0, from)).slice(-READINGS_MAX), reading];
}

function rateOf(readings: readonly Reading[], what: "requests" | "errors"): number | undefined {
  const [first] = readings;
  const last = readings.at(-1);
  if (first === undefined || last === undefined || last.at <= first.at) return undefined;
  return (1000 * Math.max(0, last[what] - first[what])) / (last.at - first.at);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
