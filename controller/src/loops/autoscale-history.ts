/** What level 1 is told of each subscription: everything read in one go. */
import type { Limits } from "@strata/protocol/agent/messages";
import { isTerminal } from "@strata/protocol/agent/process-state";
import { metricKey } from "@strata/protocol/api/autoscale";

import type {
  History,
  ProcessView,
  Reading,
  Sample,
  ScalingPolicy,
} from "../domain/autoscale/l1/model.ts";
import { percentile } from "../domain/autoscale/statistics.ts";
import type { UsageBook } from "../domain/autoscale/usage-book.ts";
import type { Sql } from "../store/database.ts";
import {
  generationKey,
  listLimits,
  listScaledProcesses,
  type ScaledProcess,
} from "../store/processes.ts";
import { listReadings } from "../store/readings.ts";
import { NEW_SCALER, readScalers, type ScalerRow } from "../store/scalers.ts";
import { listScaledSubscriptions, type ScaledSubscription } from "../store/subscriptions.ts";
import type { KnownPolicy } from "./autoscale-policies.ts";

/** One subscription whose turn it is. */
export type Scaled = {
  readonly subscription: ScaledSubscription;
  readonly known: KnownPolicy;
  readonly scaler: ScalerRow;
  /** Without the season. */
  readonly history: Omit<History, "seasonal">;
};

export type Sources = {
  readonly usage: Pick<UsageBook, "sampleOf">;
  /** The newest values of the policy's Prometheus metrics. */
  readonly external: (policy: ScalingPolicy) => readonly Reading[];
};

export function readScaled(
  sql: Sql,
  policies: ReadonlyMap<string, KnownPolicy>,
  sources: Sources,
): readonly Scaled[] {
  const ids = [...policies.keys()];
  const processes = listScaledProcesses(sql, ids);
  const readings = listReadings(sql, ids);
  const scalers = readScalers(sql, ids);
  const sampled = ids.filter((id) => policies.get(id)?.policy.metrics.some(isSampled));
  const limits = sampled.length === 0 ? new Map<string, Limits>() : listLimits(sql, sampled);
  return listScaledSubscriptions(sql, ids).flatMap((subscription) => {
    const { id } = subscription;
    const known = policies.get(id);
    if (known === undefined) return [];
    const { policy } = known;
    const rows = processes.get(id) ?? [];
    const scaler = scalers.get(id) ?? NEW_SCALER;
    const wanted = new Set(policy.metrics.map(metricKey));
    const posted = (readings.get(id) ?? []).filter(({ metric }) => wanted.has(metric));
    const sampleOf = (row: ScaledProcess): Sample | null => {
      const limit = limits.get(generationKey(row));
      return limit === undefined ? null : sources.usage.sampleOf(row, limit);
    };
    const history: Scaled["history"] = {
      ...countProcesses(subscription, rows),
      processes: policy.metrics.some(isSampled)
        ? rows.filter(isLive).map((row) => toView(row, sampleOf(row)))
        : [],
      readings: [...posted, ...sources.external(policy)],
      startP90Ms: percentile(scaler.startTimes, 0.9) ?? null,
      warmUpMs: null,
    };
    return [{ subscription, known, scaler, history }];
  });
}

/** Whether the metric is the sum of what single processes say. */
export function isSampled({ kind }: ScalingPolicy["metrics"][number]): boolean {
  return kind === "cpu" || kind === "memory" || kind === "in-flight" || kind === "requests";
}

function countProcesses(
  { processes: current, generation }: ScaledSubscription,
  rows: readonly ScaledProcess[],
): Pick<History, "current" | "ready" | "live" | "draining" | "rollingOut"> {
  const live = rows.filter(isLive);
  return {
    current,
    ready: live.filter(isReady).length,
    live: live.length,
    // Those that were told to stop keep the mark of their drain until they are gone.
    draining: rows.filter(
      ({ drainDeadline, state }) => drainDeadline !== null && !isTerminal(state),
    ).length,
    rollingOut: live.some((row) => row.generation !== generation),
  };
}

/** What is frozen, or about to be, is none of those that it has decided for. */
function isLive({ desired, state, drainDeadline, freeze }: ScaledProcess): boolean {
  return desired === "running" && drainDeadline === null && freeze === null && !isTerminal(state);
}

function isReady({ ready, state }: ScaledProcess): boolean {
  return ready && state === "running";
}

function toView(row: ScaledProcess, sample: Sample | null): ProcessView {
  const { id, firstReadyAt } = row;
  return {
    id,
    ready: isReady(row),
    firstReadyAt: firstReadyAt === null ? null : Date.parse(firstReadyAt),
    sample,
  };
}
