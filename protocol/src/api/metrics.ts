/** Figures over time: what processes, subscriptions and nodes used. */
import { z } from "zod";

export const MetricSeries = z.object({
  /** Of which the figures are: of the three, what applies. */
  labels: z.object({
    tenant: z.string().optional(),
    subscription: z.string().optional(),
    process: z.string().optional(),
    node: z.string().optional(),
  }),
  /** Unix seconds at the begin of the step, and the value. Steps that nothing is known of are left out. */
  points: z.array(z.tuple([z.number(), z.number()])),
});
export type MetricSeries = z.infer<typeof MetricSeries>;

export const MetricAnswer = z.object({
  metric: z.string(),
  unit: z.string(),
  agg: z.string(),
  since: z.iso.datetime(),
  until: z.iso.datetime(),
  /** Seconds. */
  step: z.number(),
  series: z.array(MetricSeries),
});
export type MetricAnswer = z.infer<typeof MetricAnswer>;

export const MetricNames = z.object({
  items: z.array(
    z.object({
      name: z.string(),
      unit: z.string(),
      summary: z.string(),
      /** What it is known of. */
      by: z.array(z.enum(["process", "subscription", "node"])),
    }),
  ),
});
export type MetricNames = z.infer<typeof MetricNames>;
