/** Asks Prometheus servers for the metrics of scaling policies, each in its own interval. A slow or dead server holds
 * nothing else up; while it gives no answer its metrics are missing. */
import { type Metric, metricKey } from "@strata/protocol/api/autoscale";
import { getErrorCode } from "@strata/protocol/errors";
import type { Logger } from "pino";

import type { Reading, ScalingPolicy } from "../domain/autoscale/l1/model.ts";
import type { Sql } from "../store/database.ts";
import { listScalingCandidates } from "../store/scalers.ts";
import { createPolicyBook } from "./autoscale-policies.ts";
import { queryPrometheus } from "./prometheus-query.ts";

export type ExternalMetrics = {
  /** The newest value of each Prometheus metric of the policy. */
  readonly readings: (policy: ScalingPolicy) => readonly Reading[];
  /** Asks what is due, and does not wait for the answers. */
  readonly poll: () => void;
  /** Nothing is under way after the promise is kept. */
  readonly close: () => Promise<void>;
};

export type ExternalOptions = {
  readonly sql: Sql;
  /** By the name that policies say. */
  readonly sources: Readonly<Record<string, string>>;
  readonly nowMs: () => number;
  readonly logger: Logger;
};

type PrometheusMetric = Extract<Metric, { readonly kind: "prometheus" }>;

type Asked = {
  at: number;
  value: Pick<Reading, "value" | "at"> | undefined;
  problem: string | undefined;
  isUnderWay: boolean;
};

const QUERY_MS_MAX = 5000;
/** Questions under way at the same time; others are asked in a later poll. */
const UNDER_WAY_MAX = 16;

export function createExternalMetrics(options: ExternalOptions): ExternalMetrics {
  const { sql, nowMs } = options;
  const book = createPolicyBook();
  const asked = new Map<string, Asked>();
  const underWay = new Set<Promise<void>>();
  const stopping = new AbortController();
  return {
    readings: (policy) =>
      policy.metrics.filter(isPrometheus).flatMap((metric) => {
        const value = asked.get(questionOf(metric))?.value;
        return value === undefined ? [] : [{ metric: metricKey(metric), ...value }];
      }),
    poll: () => {
      if (stopping.signal.aborted) return;
      const wanted = listWanted(book.read(sql), sql);
      for (const key of asked.keys()) if (!wanted.has(key)) asked.delete(key);
      for (const [key, metric] of wanted) {
        if (underWay.size >= UNDER_WAY_MAX) return;
        const known = asked.get(key) ?? newAsked();
        asked.set(key, known);
        if (known.isUnderWay || nowMs() - known.at < metric.interval) continue;
        const answer = ask(metric, known, { ...options, signal: stopping.signal });
        underWay.add(answer);
        void answer.then(() => underWay.delete(answer));
      }
    },
    close: async () => {
      stopping.abort();
      await Promise.all(underWay);
    },
  };
}

function newAsked(): Asked {
  return { at: -Infinity, value: undefined, problem: undefined, isUnderWay: false };
}

/** What the policies of present subscriptions ask for, by question: the same one is asked once. */
function listWanted(
  policies: ReturnType<ReturnType<typeof createPolicyBook>["read"]>,
  sql: Sql,
): ReadonlyMap<string, PrometheusMetric> {
  const asking = [...policies.values()].filter(({ policy }) => policy.metrics.some(isPrometheus));
  if (asking.length === 0) return new Map();
  const inUse = new Set(listScalingCandidates(sql).map(({ policyName }) => policyName));
  return new Map(
    asking
      .filter(({ name }) => inUse.has(name))
      .flatMap(({ policy }) => policy.metrics.filter(isPrometheus))
      // Where two ask the same in different intervals, the shorter one comes last and stays.
      .toSorted((a, b) => b.interval - a.interval)
      .map((metric) => [questionOf(metric), metric]),
  );
}

/** Never rejects: what went wrong is remembered, and logged when it is news. */
async function ask(
  { source, query }: PrometheusMetric,
  known: Asked,
  { sources, nowMs, logger, signal }: ExternalOptions & { readonly signal: AbortSignal },
): Promise<void> {
  known.isUnderWay = true;
  known.at = nowMs();
  const url = sources[source];
  try {
    if (url === undefined) throw new Error(`no source ${source} in STRATA_PROMETHEUS`);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(QUERY_MS_MAX)]);
    const value = await queryPrometheus({ url, query, signal: limit });
    known.value = { value, at: known.at };
    known.problem = undefined;
  } catch (error) {
    const problem = getErrorCode(error) ?? "SOURCE_UNKNOWN";
    if (known.problem !== problem && !signal.aborted)
      logger.warn({ err: error, source, query }, "a metric has no value");
    known.problem = problem;
  } finally {
    known.isUnderWay = false;
  }
}

function isPrometheus(metric: Metric): metric is PrometheusMetric {
  return metric.kind === "prometheus";
}

function questionOf({ source, query }: PrometheusMetric): string {
  return `${source} ${query}`;
}
