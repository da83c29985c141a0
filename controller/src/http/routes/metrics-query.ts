import { MetricAnswer, MetricNames } from "@strata/protocol/api/metrics";
import { Alias } from "@strata/protocol/names";
import { parseDurationMs } from "@strata/protocol/units";
import { z } from "zod";

import type { Principal } from "../../access/authenticate.ts";
import { ControllerError } from "../../errors.ts";
import type { Series, SeriesFilter } from "../../history/file.ts";
import { aggregations } from "../../history/points.ts";
import { type HistoryQuery, planWindows, readPoints, WINDOWS_MAX } from "../../history/query.ts";
import {
  countMetrics,
  isCountMetric,
  processMetrics,
  type MetricName,
  type SeriesKind,
} from "../../history/series.ts";
import { getNode } from "../../store/nodes.ts";
import { answerJson } from "../answer.ts";
import { TenantQuery, tenantFilterOf } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";
import { parseTime } from "../time.ts";

/** As Prometheus has it, and for the same reason: more nobody looks at. */
const POINTS_MAX = 11_000;
const SERIES_MAX = 1000;
/** Points of a series when no step is given. */
const POINTS_USUAL = 240;
const STEPS_S = [10, 30, 60, 300, 900, 3600, 14_400, 86_400];

const Query = z.strictObject({
  metric: z.enum([...processMetrics, ...countMetrics]),
  subscription: Alias.optional(),
  process: z.string().max(100).optional(),
  node: z.string().max(100).optional(),
  since: z.string().max(40).default("1h"),
  until: z.string().max(40).optional(),
  step: z.string().max(20).optional(),
  agg: z.enum(aggregations).optional(),
  by: z.enum(["process", "subscription", "node"]).optional(),
  ...TenantQuery.shape,
});
type Query = z.output<typeof Query>;

export function addMetricsQueryRoutes(router: Router, services: Services): void {
  router.add({
    method: "get",
    path: "/v1/metrics/query",
    access: "viewer",
    summary:
      "Figures over time of processes, subscriptions or nodes: every 10 s of the last day, every 5 min of two weeks. since and until are durations back from now or RFC 3339.",
    query: Query,
    answers: { 200: { description: "One series for each.", schema: MetricAnswer } },
    handle: async ({ query, caller, c }) =>
      answerJson(c, await answerQuery(services, { query, caller })),
  });
  router.add({
    method: "get",
    path: "/v1/metrics/names",
    access: "viewer",
    summary: "What GET /v1/metrics/query knows.",
    answers: { 200: { description: "With units.", schema: MetricNames } },
    handle: ({ c }) => answerJson(c, { items: names }),
  });
}

type Asked = { readonly query: Query; readonly caller: Principal };

async function answerQuery(services: Services, { query, caller }: Asked): Promise<MetricAnswer> {
  const { history, clock } = services;
  const nowMs = clock.nowMs();
  const by = query.by ?? byOf(query);
  const range = readRange(query, nowMs);
  const asked: HistoryQuery = { metric: query.metric, agg: aggOf(query, by), ...range };
  refuseUnknown(by, asked.metric);
  const filter = { ...filterOf(services, { query, caller }, by), sinceMs: range.sinceMs };
  const found = history
    .find({ ...filter, limit: SERIES_MAX + 1 })
    .filter(({ firstAt }) => firstAt < range.untilMs);
  const windows = planWindows(history, range, nowMs);
  refuseTooMuch(asked, { series: found.length, windows: windows.length });
  const series: MetricAnswer["series"] = [];
  for (const one of found) {
    const points = await readPoints(history, { series: one, windows }, asked);
    if (points.length > 0) series.push({ labels: labelsOf(one), points: points.map(toTuple) });
  }
  return {
    metric: asked.metric,
    unit: unitOf(asked.metric),
    agg: asked.agg,
    since: new Date(range.sinceMs).toISOString(),
    until: new Date(range.untilMs).toISOString(),
    step: range.stepMs / 1000,
    series,
  };
}

function toTuple([at, value]: readonly [number, number]): [number, number] {
  return [at, value];
}

function byOf({ process, subscription, node }: Query): SeriesKind {
  if (process !== undefined) return "process";
  return node !== undefined && subscription === undefined ? "node" : "subscription";
}

/** A count is one already; of what processes use, the sum is what a group uses. */
function aggOf({ agg, metric }: Query, by: SeriesKind): HistoryQuery["agg"] {
  return agg ?? (by === "process" || isCountMetric(metric) ? "avg" : "sum");
}

function readRange(
  { since, until, step }: Query,
  nowMs: number,
): Pick<HistoryQuery, "sinceMs" | "untilMs" | "stepMs"> {
  const sinceMs = parseTime(since, { nowMs, name: "since" });
  const untilMs = until === undefined ? nowMs : parseTime(until, { nowMs, name: "until" });
  if (sinceMs >= untilMs)
    throw invalid("since is not before until", "write since=2h&until=1h, or leave until out");
  const usualS = (untilMs - sinceMs) / 1000 / POINTS_USUAL;
  const stepMs =
    step === undefined
      ? 1000 * (STEPS_S.find((seconds) => seconds >= usualS) ?? 86_400)
      : parseDurationMs(step);
  if (stepMs < 10_000 || stepMs > 14 * 86_400_000)
    throw invalid("step is not from 10s to 14d", "leave it out for a usual one");
  return { sinceMs, untilMs, stepMs };
}

/** Nodes are no tenant's, as in GET /v1/nodes; whose processes they run is not said. */
function filterOf(
  { store }: Services,
  { query, caller }: Asked,
  by: SeriesKind,
): Omit<SeriesFilter, "sinceMs" | "limit"> {
  const { subscription, process } = query;
  const node =
    query.node === undefined ? undefined : (getNode(store.sql, query.node)?.name ?? query.node);
  if (by === "node") {
    if (subscription !== undefined || process !== undefined)
      throw invalid("by=node goes with node alone", "leave subscription and process out");
    return { kind: by, name: node };
  }
  const tenant = tenantFilterOf(caller, query.tenant);
  if (by === "process") return { kind: by, tenant, name: process, subscription, node };
  if (node !== undefined || process !== undefined)
    throw invalid("by=subscription goes with subscription alone", "write by=process");
  return { kind: by, tenant, name: subscription };
}

function refuseUnknown(by: SeriesKind, metric: MetricName): void {
  if (knownBy(metric).includes(by)) return;
  throw invalid(`${metric} is not known by ${by}`, "see GET /v1/metrics/names");
}

function refuseTooMuch(
  { sinceMs, untilMs, stepMs }: HistoryQuery,
  { series, windows }: { readonly series: number; readonly windows: number },
): void {
  const points = series * Math.ceil((untilMs - sinceMs) / stepMs);
  if (series > SERIES_MAX)
    throw invalid(`more than ${SERIES_MAX} series`, "name a subscription, process or node");
  if (points > POINTS_MAX)
    throw invalid(
      `${points} points are more than ${POINTS_MAX}`,
      `raise step to ${Math.ceil((series * (untilMs - sinceMs)) / POINTS_MAX / 10_000) * 10}s, or name fewer series`,
    );
  if (series * windows > WINDOWS_MAX)
    throw invalid(
      `${series} series over so long a time are too many to read`,
      "take a shorter time, or ask by=subscription",
    );
}

function labelsOf({
  kind,
  tenant,
  name,
  subscription,
  node,
}: Series): MetricAnswer["series"][number]["labels"] {
  switch (kind) {
    case "process":
      return { tenant, subscription, process: name, node };
    case "subscription":
      return { tenant, subscription: name };
    case "node":
      return { node: name };
    default:
      return kind satisfies never;
  }
}

const described: Readonly<Record<MetricName, readonly [unit: string, summary: string]>> = {
  cpu: ["millis", "processor time used, in thousandths of a processor"],
  memory: ["bytes", "memory without page cache"],
  pids: ["count", "tasks"],
  "network-rx": ["bytes/s", "received"],
  "network-tx": ["bytes/s", "sent"],
  "io-read": ["bytes/s", "read from disks"],
  "io-write": ["bytes/s", "written to disks"],
  "in-flight": ["count", "requests under way through an ingress, or connections to its ports"],
  processes: ["count", "processes that said what they use"],
  wished: ["count", "processes that there shall be"],
  ready: ["count", "processes that are ready"],
  requests: ["1/s", "requests through the ingress nodes"],
  errors: ["1/s", "those that failed: no answer, or one of status 5xx"],
  queued: ["count", "requests that wait for a process"],
  latency: ["ms", "mean time from a request to the end of its answer"],
};

function unitOf(metric: MetricName): string {
  return described[metric][0];
}

function knownBy(metric: MetricName): SeriesKind[] {
  if (!isCountMetric(metric)) return ["process", "subscription", "node"];
  return metric === "processes" ? ["subscription", "node"] : ["subscription"];
}

const names: MetricNames["items"] = [...processMetrics, ...countMetrics].map((name) => ({
  name,
  unit: described[name][0],
  summary: described[name][1],
  by: knownBy(name),
}));

function invalid(message: string, hint: string): ControllerError {
  return new ControllerError("INVALID", message, { hint });
}
