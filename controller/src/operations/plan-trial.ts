/** From a request to a trial: which policy, and what it is tried on. */
import { metricKey, type ScalingPolicy } from "@strata/protocol/api/autoscale";
import type { SimulateInput } from "@strata/protocol/api/simulation";
import type { z } from "zod";

import { isSame } from "../domain/canonical.ts";
import type { SampleReplay } from "../domain/simulate/replay-samples.ts";
import { parseTraceCsv, type TraceSample } from "../domain/simulate/trace.ts";
import type { Trial } from "../domain/simulate/trial.ts";
import { ControllerError } from "../errors.ts";
import type { Sql } from "../store/database.ts";
import { type DecisionRow, listReplayable } from "../store/decisions.ts";
import {
  getScalingPolicy,
  parseScalingPolicy,
  type ScalingPolicyRow,
} from "../store/scaling-policies.ts";
import { getSubscription } from "../store/subscriptions.ts";
import { changedPolicy } from "./changed-policy.ts";
import { requireFound } from "./upsert.ts";

export type PlanTrial = {
  /** Of the scaling policy. */
  readonly name: string;
  readonly tenant: string;
  readonly input: z.output<typeof SimulateInput>;
  readonly nowMs: number;
};

/** @throws ControllerError NOT_FOUND, INVALID */
export function planTrial(sql: Sql, { name, tenant, input, nowMs }: PlanTrial): Trial {
  const row = requireFound(getScalingPolicy(sql, name), { kind: "scaling policy", name });
  const policy = changedPolicy(row, input);
  if (input.subscription !== undefined) {
    const key = { tenant, alias: input.subscription };
    const found = requireFound(getSubscription(sql, key), {
      kind: "subscription",
      name: key.alias,
    });
    const rows = listReplayable(sql, found.id);
    if (rows.length === 0) {
      throw invalid(`subscription ${key.alias} has no decisions yet`, {
        hint: "give it a scaling policy with metrics, or send samples",
      });
    }
    return trialOfDecisions(rows, { row, policy, input });
  }
  const samples =
    input.samples === undefined
      ? samplesOfCsv(input.csv ?? "", policy)
      : samplesOfLists(input.samples);
  requireUsable(Object.keys(samples), policy);
  const initial = input.initial ?? Math.max(1, policy.min);
  const startMs = input.start ?? policy.forecast.horizon;
  return {
    mode: "simulation",
    name,
    policy,
    samples: { samples, startedAt: nowMs, initial, startMs },
  };
}

/** The newest stretch that this very policy has decided is replayed; for another policy the samples count. */
function trialOfDecisions(
  rows: readonly DecisionRow[],
  {
    row,
    policy,
    input,
  }: {
    readonly row: ScalingPolicyRow;
    readonly policy: ScalingPolicy;
    readonly input: PlanTrial["input"];
  },
): Trial {
  const { name } = row;
  const stretch = isSame(policy, parseScalingPolicy(row)) ? newestStretch(rows, row) : undefined;
  const isAsLived = input.initial === undefined && input.start === undefined;
  if (stretch !== undefined && isAsLived)
    return { mode: "replay", name, policy, lived: stretch.rows, state: stretch.state };
  const [first] = rows;
  const samples = samplesOfDecisions(rows, policy);
  requireUsable(Object.keys(samples), policy);
  return {
    mode: "simulation",
    name,
    policy,
    samples: {
      samples,
      startedAt: first?.at ?? 0,
      initial: input.initial ?? first?.current ?? 1,
      startMs: input.start ?? rows.at(-1)?.history.startP90Ms ?? policy.forecast.horizon,
    },
  };
}

/** Decisions in a row that follow from each other: no other policy and no hand came between. A state in their midst
 * that is not the one before it was written there because something did. */
function newestStretch(
  rows: readonly DecisionRow[],
  { name, revision }: ScalingPolicyRow,
):
  | { readonly rows: readonly DecisionRow[]; readonly state: NonNullable<DecisionRow["state"]> }
  | undefined {
  const other = rows.findLastIndex(
    (row) => row.policyName !== name || row.policyRevision !== revision,
  );
  const own = rows.slice(other + 1);
  const paused = own.findLastIndex((row, index) => {
    const before = own.findLast(({ state }, position) => position < index && state !== null);
    return (
      row.state !== null &&
      before !== undefined &&
      row.state.pausedUntil !== before.state?.pausedUntil
    );
  });
  const stretch = own.slice(Math.max(0, paused));
  const state = stretch[0]?.state ?? undefined;
  return state === undefined ? undefined : { rows: stretch, state };
}

type Samples = SampleReplay["samples"];

/** What live decisions saw of the metrics; a gap is an outage of the metric. */
function samplesOfDecisions(rows: readonly DecisionRow[], policy: ScalingPolicy): Samples {
  const wanted = new Set(policy.metrics.map(metricKey));
  const startedAt = rows[0]?.at ?? 0;
  const samples: Record<string, TraceSample[]> = {};
  for (const { at, trace } of rows) {
    for (const { metric, load } of trace.metrics) {
      if (load === null || !wanted.has(metric)) continue;
      (samples[metric] ??= []).push({ at: at - startedAt, value: load });
    }
  }
  return samples;
}

function samplesOfLists(lists: NonNullable<PlanTrial["input"]["samples"]>): Samples {
  return Object.fromEntries(
    Object.entries(lists).map(([metric, pairs]) => [
      metric,
      pairs
        .map(([seconds, value]) => ({ at: seconds * 1000, value }))
        .toSorted((a, b) => a.at - b.at),
    ]),
  );
}

/** @throws ControllerError INVALID; ParseError INVALID naming the line */
function samplesOfCsv(csv: string, policy: ScalingPolicy): Samples {
  const lines = csv
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  const [head = ""] = lines;
  const isHead = !/^[\d.]+,/.test(head);
  const [, ...named] = isHead ? head.split(",").map((cell) => cell.trim()) : [];
  const known = new Set(policy.metrics.map(metricKey));
  const first = policy.metrics[0];
  const single = first === undefined ? "" : metricKey(first);
  const keys = named.length > 1 || known.has(named[0] ?? "") ? named : [single];
  const rows = (isHead ? lines.slice(1) : lines).map((line) => line.split(","));
  return Object.fromEntries(
    keys.map((key, index) => {
      // An empty cell is a moment at which nobody knew.
      const cells = rows.filter((row) => (row[index + 1] ?? "") !== "" || keys.length === 1);
      return [key, parseTraceCsv(cells.map((row) => `${row[0]},${row[index + 1]}`).join("\n"))];
    }),
  );
}

function requireUsable(given: readonly string[], policy: ScalingPolicy): void {
  const known = policy.metrics.map(metricKey);
  if (policy.metrics.length === 0) {
    if (policy.schedules.length > 0) return;
    throw invalid("the policy has neither metrics nor schedules: it decides nothing", {
      hint: "add a metric to it",
    });
  }
  const foreign = given.find((key) => !known.includes(key));
  if (foreign === undefined && given.length > 0) return;
  const what = foreign === undefined ? "there are no samples" : `nothing asks for ${foreign}`;
  throw invalid(what, { hint: `the metrics of the policy are ${known.join(", ")}` });
}

function invalid(message: string, options: { readonly hint: string }): ControllerError {
  return new ControllerError("INVALID", message, options);
}
