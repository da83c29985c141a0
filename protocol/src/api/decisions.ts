/** Why a subscription has as many processes as it has, and the metrics that are told from outside. */
import { z } from "zod";

import { Name } from "../names.ts";

/** Body of `POST /v1/subscriptions/{alias}/metrics`: totals of the whole subscription, such as the length of a queue. */
export const MetricsInput = z
  .strictObject({
    /** By name, as of now. */
    metrics: z.record(Name, z.number()).default({}),
    /** The same with the time of each. One that is older than what is known changes nothing. */
    samples: z
      .array(z.strictObject({ name: Name, value: z.number(), at: z.iso.datetime().optional() }))
      .max(1000)
      .default([]),
  })
  .refine(({ metrics }) => Object.keys(metrics).length <= 64, {
    path: ["metrics"],
    message: "at most 64 at once",
  })
  .refine(({ metrics, samples }) => Object.keys(metrics).length + samples.length > 0, {
    path: ["metrics"],
    message: "say at least one, as { metrics: { name: value } }",
  });

export const MetricsTaken = z.object({
  /** The newest value of each metric that was named. */
  items: z.array(z.object({ name: Name, value: z.number(), at: z.iso.datetime() })),
});
export type MetricsTaken = z.infer<typeof MetricsTaken>;

const Limit = z.object({ limiter: z.string(), from: z.int(), to: z.int() });

/** One metric as a decision saw it. Loads are totals over the subscription. */
const MetricTrace = z.object({
  metric: z.string(),
  target: z.number(),
  /** Null when nothing fresh was known. */
  load: z.number().nullable(),
  stableLoad: z.number(),
  panicLoad: z.number(),
  /** Processes that the load says nothing of. */
  missing: z.number(),
  need: z.int(),
  panicNeed: z.int(),
  slope: z.number().nullable(),
  forecastLoad: z.number().nullable(),
  forecastNeed: z.int().nullable(),
  seasonalLoad: z.number().nullable(),
  /** In a row; 0 when it works. */
  failures: z.int(),
  fallback: z.boolean(),
});

const DecisionTrace = z.object({
  at: z.number(),
  current: z.int(),
  ready: z.int(),
  bounds: z.object({ min: z.int(), max: z.int(), schedules: z.array(z.int()) }),
  metrics: z.array(MetricTrace),
  horizonMs: z.number(),
  panicking: z.boolean(),
  floor: z.int().nullable(),
  raw: z.int(),
  source: z.object({ kind: z.string(), metric: z.string().optional() }),
  limits: z.array(Limit),
});

export const Decision = z.object({
  id: z.int().positive(),
  at: z.iso.datetime(),
  from: z.int(),
  desired: z.int(),
  /** Whether the count was changed: not where it stays, and not by a dry run. */
  acted: z.boolean(),
  /** What bound last; null when the load alone decided. */
  limiter: z.string().nullable(),
  /** One sentence. */
  reason: z.string(),
  policy: z.object({ name: Name, revision: z.int() }),
  /** The need of each metric, window, forecast, bounds, and every limiter that changed the count. */
  trace: DecisionTrace,
  /** With `?inputs=true`: all that it was decided from. */
  inputs: z.record(z.string(), z.unknown()).optional(),
});
export type Decision = z.infer<typeof Decision>;
