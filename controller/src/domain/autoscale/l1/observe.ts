/** Rules 1 and 3: one point for each metric out of what is known now. */
import { type Metric, metricKey } from "@strata/protocol/api/autoscale";

import type { History, Point, ProcessView, ScalingPolicy } from "./model.ts";

/** Samples older than this many sampling intervals are missing. */
const STALE_INTERVALS = 3;

/** `failed` means that there should be a value and none is fresh. */
export type Observation =
  | { readonly failed: false; readonly point: Point }
  | { readonly failed: true };

type Scope = {
  readonly policy: ScalingPolicy;
  readonly history: History;
  readonly now: number;
};

/** How often this metric is expected to have a new value. */
export function metricInterval(metric: Metric, policy: ScalingPolicy): number {
  return "interval" in metric
    ? Math.max(metric.interval, policy.sampleInterval)
    : policy.sampleInterval;
}

export function observe(metric: Metric, { policy, history, now }: Scope): Observation {
  const key = metricKey(metric);
  const freshSince = now - STALE_INTERVALS * metricInterval(metric, policy);
  const reading = history.readings.findLast((candidate) => candidate.metric === key);
  if (reading !== undefined && reading.at >= freshSince) {
    return { failed: false, point: { at: now, sum: reading.value, missing: 0 } };
  }
  // These have no other source than their readings.
  if ("interval" in metric || (reading !== undefined && history.live === 0)) {
    return { failed: true };
  }
  const warmUpMs = history.warmUpMs ?? policy.warmUp;
  const warmSince = metric.kind === "cpu" ? now - warmUpMs : Infinity;
  return sumSamples({ key, freshSince, warmSince, now }, history);
}

type Filter = {
  readonly key: string;
  readonly freshSince: number;
  readonly warmSince: number;
  readonly now: number;
};

function sumSamples({ key, freshSince, warmSince, now }: Filter, history: History): Observation {
  let sum = 0;
  let counted = 0;
  let known = 0;
  for (const process of history.processes) {
    const value = freshValue(process, key, freshSince);
    if (value === undefined) continue;
    known += 1;
    if ((process.firstReadyAt ?? Infinity) > warmSince) continue;
    sum += value;
    counted += 1;
  }
  if (history.ready > 0 && known === 0) return { failed: true };
  return {
    failed: false,
    point: { at: now, sum, missing: Math.max(0, history.current - counted) },
  };
}

function freshValue(process: ProcessView, key: string, freshSince: number): number | undefined {
  const { sample } = process;
  if (sample === null || !process.ready || !sample.ready || sample.at < freshSince)
    return undefined;
  return sample.values[key];
}
