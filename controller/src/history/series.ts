/** Which figures are kept, and in which order they stand in a chunk. New ones go to the end: what is written stays
 * readable. Pure. */

/** Of one process. `in-flight` is what autoscaling knows by that name: what is under way, or connections to its ports. */
export const processMetrics = [
  "cpu",
  "memory",
  "pids",
  "network-rx",
  "network-tx",
  "io-read",
  "io-write",
  "in-flight",
] as const;
export type ProcessMetric = (typeof processMetrics)[number];

/** Counts of a group beside its processes' figures. Only subscriptions have all but the first; the last four are what
 * goes through ingress nodes. */
export const countMetrics = [
  "processes",
  "wished",
  "ready",
  "requests",
  "errors",
  "queued",
  "latency",
] as const;
export type CountMetric = (typeof countMetrics)[number];
/** So many of them stand before the figures of processes, the others, which came later, behind. */
const COUNTS_BEFORE = 3;

export type MetricName = ProcessMetric | CountMetric;
export type SeriesKind = "process" | "subscription" | "node";

/** What a group keeps of each metric of its processes. */
const shares = ["sum", "max", "min"] as const;
export type Share = (typeof shares)[number];

export const PROCESS_COLUMNS = processMetrics.length;
export const GROUP_COLUMNS = countMetrics.length + shares.length * processMetrics.length;

export function columnCount(kind: SeriesKind): number {
  return kind === "process" ? PROCESS_COLUMNS : GROUP_COLUMNS;
}

export function countColumn(metric: CountMetric): number {
  const at = countMetrics.indexOf(metric);
  return at < COUNTS_BEFORE ? at : at + shares.length * processMetrics.length;
}

export function shareColumn(metric: ProcessMetric, share: Share): number {
  const at = processMetrics.indexOf(metric);
  return COUNTS_BEFORE + shares.length * at + shares.indexOf(share);
}

export function isCountMetric(metric: MetricName): metric is CountMetric {
  return countMetrics.some((name) => name === metric);
}
