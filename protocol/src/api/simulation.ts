/** What a scaling policy would have decided: body and answer of `POST /v1/scaling-policies/{name}/simulate`. */
import { z } from "zod";

import { Alias } from "../names.ts";
import { DurationMs } from "../units.ts";

const SAMPLES_MAX = 100_000;

export const SimulateInput = z
  .strictObject({
    /** Its stored decisions: the very same are made again, or, with another policy, what they saw is played to it. */
    subscription: Alias.optional(),
    /** Lines `seconds,value` for the policy's first metric; or with a first line `seconds,KEY,KEY` that names metrics. */
    csv: z
      .string()
      .max(4 * 1024 * 1024)
      .optional(),
    /** By metric key, such as `custom/queue` or `cpu`: totals of the subscription at a second. */
    samples: z
      .record(
        z.string().max(128),
        z.array(z.tuple([z.number().min(0), z.number().min(0)])).max(SAMPLES_MAX),
      )
      .optional(),
    /** A whole policy to try in place of the named one. */
    policy: z.record(z.string(), z.unknown()).optional(),
    /** Single fields of it to try: `{ "max": 20, "metrics.0.target": 5 }`. */
    set: z
      .record(
        z
          .string()
          .regex(/^[A-Za-z]\w{0,63}(\.\w{1,64}){0,7}$/, "write a path such as metrics.0.target"),
        z.union([z.number(), z.string().max(256), z.boolean(), z.null()]),
      )
      .default({}),
    /** Processes at the begin [of the subscription, or the policy's minimum]. */
    initial: z.int().min(0).max(100_000).optional(),
    /** From a wish to a ready process [as measured, or the policy's horizon]. */
    start: DurationMs.optional(),
  })
  .refine(
    ({ subscription, csv, samples }) =>
      [subscription, csv, samples].filter((source) => source !== undefined).length === 1,
    "give one of subscription, csv and samples",
  );

const Point = z.object({
  /** Milliseconds since the begin. */
  at: z.number(),
  load: z.number(),
  /** Processes that each metric asks for. */
  needs: z.record(z.string(), z.number()),
  forecast: z.number().nullable(),
  floor: z.number().nullable(),
  desired: z.int(),
  ready: z.int(),
  limiter: z.string().nullable(),
  nodes: z.int().nullable(),
});

export const Simulation = z.object({
  /** `replay`: the stored decisions again, from their inputs. `simulation`: the samples, and a world that follows. */
  mode: z.enum(["replay", "simulation"]),
  decisions: z.int(),
  /** Of a replay: how many came out exactly as they were live. */
  same: z.int().nullable(),
  /** Decisions that changed the count. */
  changes: z.int(),
  highest: z.int(),
  processHours: z.number(),
  /** The last decision. */
  last: z
    .object({ desired: z.int(), reason: z.string(), limiter: z.string().nullable() })
    .nullable(),
  series: z.object({ name: z.string(), points: z.array(Point) }),
});
export type Simulation = z.infer<typeof Simulation>;
