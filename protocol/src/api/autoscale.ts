/** The policies of the two scalers as people write them. Durations are seconds or text with a unit and become
 * milliseconds; `z.encode(ScalingPolicyInput, policy)` turns a parsed policy back into what can be written again. */
import { z } from "zod";

import { Labels, Name } from "../names.ts";
import { parseBytes, parseCpuMillis, parseDurationMs } from "../units.ts";
import { canOverlap, type Schedule, ScheduleInput, TimeZone } from "./schedules.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** A window keeps one point for each sampling interval; more would make a decision slow. */
const WINDOW_POINTS_MAX = 600;

const Count = z.int().min(0).max(100_000);

/** A codec, so that a stored policy can be shown as it was written. */
type Quantity = z.ZodCodec<z.ZodUnion<readonly [z.ZodNumber, z.ZodString]>, z.ZodInt>;

function quantity(
  parse: (text: string | number) => number,
  write: (value: number) => string,
): Quantity {
  return z.codec(z.union([z.number(), z.string().max(64)]), z.int(), {
    decode: (text, context) => {
      try {
        return parse(text);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        context.issues.push({ code: "custom", message, input: text });
        return z.NEVER;
      }
    },
    encode: write,
  });
}

const Duration = quantity(parseDurationMs, (ms) =>
  ms % SECOND === 0 ? `${ms / SECOND}s` : `${ms}ms`,
);
export const BytesText = quantity(parseBytes, String);
export const CpuText = quantity(parseCpuMillis, (millis) => `${millis}m`);

/** A duration within limits, both in milliseconds. */
export function duration(minMs: number, maxMs: number): Quantity {
  return Duration.refine(
    (ms) => ms >= minMs && ms <= maxMs,
    `between ${minMs / SECOND}s and ${maxMs / SECOND}s`,
  );
}

const target = z.number().positive().max(1e12);
/** At or below this the metric is idle; above it, a sleeping subscription wakes. */
const activation = z.number().min(0).max(1e12).default(0);
const externalInterval = duration(SECOND, HOUR).default(15 * SECOND);

/** One signal and what one process should carry of it. */
export const MetricInput = z.discriminatedUnion("kind", [
  /** Per cent of the process's own limit, averaged over its processes. */
  z.strictObject({ kind: z.enum(["cpu", "memory"]), target: z.number().positive().max(1000) }),
  /** Requests in flight, or requests per second, for each process. */
  z.strictObject({ kind: z.enum(["in-flight", "requests"]), target, activation }),
  /** Posted to `/v1/subscriptions/{alias}/metrics`: a total such as the length of a queue. */
  z.strictObject({
    kind: z.literal("custom"),
    name: Name,
    target,
    activation,
    interval: externalInterval,
  }),
  /** The sum of what a query answers; `source` names one of the controller's Prometheus servers. */
  z.strictObject({
    kind: z.literal("prometheus"),
    name: Name,
    source: Name.default("default"),
    query: z.string().min(1).max(4096),
    target,
    activation,
    interval: externalInterval,
  }),
]);
export type Metric = z.output<typeof MetricInput>;

/** The name that a metric has in samples, traces and states: unique in a policy. */
export function metricKey(metric: Metric): string {
  return "name" in metric ? `${metric.kind}/${metric.name}` : metric.kind;
}

const change = z.number().min(0).max(10_000);
const period = duration(SECOND, HOUR);
const GrowRate = z
  .strictObject({
    processes: Count.default(4),
    percent: change.default(100),
    period: period.default(15 * SECOND),
  })
  .refine(canMove, "nothing could ever grow");
const ShrinkRate = z
  .strictObject({
    processes: Count.default(1),
    percent: change.default(10),
    period: period.default(60 * SECOND),
  })
  .refine(canMove, "nothing could ever shrink");

/** Level 1: how many processes a subscription has. Without metrics it only bounds the hand-set number. */
export const ScalingPolicyInput = z
  .strictObject({
    min: Count.default(1),
    max: Count,
    metrics: z.array(MetricInput).max(16).default([]),
    schedules: z.array(ScheduleInput).max(64).default([]),
    /** Decide and record, but leave the count alone. */
    dryRun: z.boolean().default(false),
    /** From one decision to the next. A sample older than three of these is missing. */
    sampleInterval: duration(250, 5 * MINUTE).default(2 * SECOND),
    /** Relative distance from the target that moves nothing. */
    tolerance: z
      .strictObject({
        up: z.number().min(0).max(1).default(0.1),
        down: z.number().min(0).max(0.9).default(0.1),
      })
      .prefault({}),
    stableWindow: duration(SECOND, HOUR).default(60 * SECOND),
    panic: z
      .strictObject({
        window: duration(SECOND, HOUR).default(6 * SECOND),
        /** Panic when the window's need is this many times the ready processes. Null: never. */
        threshold: z.number().min(1.1).max(100).nullable().default(2),
      })
      .prefault({}),
    /** After a process is first ready, its processor use is not counted as load. A subscription may say its own. */
    warmUp: duration(0, HOUR).default(30 * SECOND),
    forecast: z
      .strictObject({
        enabled: z.boolean().default(true),
        /** How far to look ahead until decision → ready has been measured for the cartridge. */
        horizon: duration(0, HOUR).default(10 * SECOND),
      })
      .prefault({}),
    seasonal: z
      .strictObject({
        mode: z.enum(["off", "forecast-only", "scale"]).default("forecast-only"),
        lookback: duration(DAY, 60 * DAY).default(14 * DAY),
        minHistory: duration(HOUR, 60 * DAY).default(DAY),
        percentile: z.number().min(0.5).max(1).default(0.9),
        /** Whose clock says which times are the same time of day. */
        timeZone: TimeZone.default("UTC"),
      })
      .prefault({}),
    /** What stands in for a metric that has failed `after` times in a row. */
    fallback: z
      .strictObject({
        after: z.int().min(1).max(1000).default(3),
        mode: z.enum(["hold", "static", "ifHigher", "ifLower"]).default("hold"),
        /** For every mode but hold. */
        processes: Count.optional(),
      })
      .refine(({ mode, processes }) => mode === "hold" || processes !== undefined, {
        path: ["processes"],
        message: "say how many processes the fallback has",
      })
      .prefault({}),
    /** All activation metrics must have been idle for this long before the last process goes. */
    idleAfter: duration(0, 7 * DAY).default(300 * SECOND),
    /** What becomes of the last process: it ends, or it stays where it is and is frozen, with its memory. */
    sleep: z.enum(["stopped", "frozen"]).default("stopped"),
    stabilisation: z
      .strictObject({
        grow: duration(0, HOUR).default(0),
        shrink: duration(0, HOUR).default(300 * SECOND),
      })
      .prefault({}),
    /** At most `processes` or `percent`, whichever is more, in any `period`. */
    rates: z
      .strictObject({ grow: GrowRate.prefault({}), shrink: ShrinkRate.prefault({}) })
      .prefault({}),
    /** A change that is not done by then no longer holds others up. */
    actionTimeout: duration(SECOND, DAY).default(5 * MINUTE),
    /** How long a count set by hand is left alone. */
    pauseAfterScale: duration(0, 30 * DAY).default(15 * MINUTE),
    /** How long a process that goes may take to finish what is in flight. */
    drainMax: duration(0, HOUR).default(30 * SECOND),
  })
  .superRefine((policy, context) => {
    for (const { path, message } of scalingPolicyFaults(policy)) {
      context.addIssue({ code: "custom", path: [...path], message });
    }
  });
export type ScalingPolicy = z.output<typeof ScalingPolicyInput>;

/** Where nodes come from, in the order of preference. */
export const ProviderChoiceInput = z.strictObject({
  provider: Name,
  flavor: z.string().min(1).max(128),
  /** What a node of the flavor offers to processes. Left out, what the provider says, and once nodes have joined, they. */
  capacity: z
    .strictObject({ cpu: CpuText, memory: BytesText, pids: z.int().positive() })
    .optional(),
  /** Of one node for an hour, in any one currency. Left out, the flavor's. */
  price: z.number().min(0).max(1e6).optional(),
  maxNodes: z.int().min(0).max(10_000).optional(),
  zone: z.string().max(64).optional(),
  /** Its nodes join with these. */
  labels: Labels.default({}),
});
export type ProviderChoice = z.output<typeof ProviderChoiceInput>;

const percent = z.number().min(0).max(100);
const apart = z.enum(["none", "prefer", "require"]).default("none");
/** Whether processes of one subscription share a node or a zone: as it comes, rather not, or never. */
export const apartInput = z.strictObject({ nodes: apart, zones: apart });

/** Level 2: how many nodes a partition has, and where they come from. */
export const PartitionPolicyInput = z
  .strictObject({
    minNodes: z.int().min(0).max(10_000).default(0),
    maxNodes: z.int().min(0).max(10_000).default(100),
    providers: z.array(ProviderChoiceInput).max(16).default([]),
    order: z.enum(["one-after-another", "round-robin", "cheapest"]).default("one-after-another"),
    /** How long a provider that failed is left alone; doubled by each further failure. */
    backOff: z
      .strictObject({
        first: duration(SECOND, HOUR).default(30 * SECOND),
        max: duration(SECOND, DAY).default(30 * MINUTE),
      })
      .prefault({}),
    /** Room kept free beyond the demand: whole nodes, or a share of the demand. */
    headroom: z
      .union([
        z.strictObject({ nodes: z.int().min(0).max(1000) }),
        z.strictObject({ percent: z.number().min(0).max(1000) }),
      ])
      .default({ percent: 0 }),
    forecast: z
      .strictObject({
        enabled: z.boolean().default(true),
        /** How far to look ahead until VM request → agent ready has been measured. */
        horizon: duration(0, HOUR).default(2 * MINUTE),
      })
      .prefault({}),
    /** Needs are gathered until nothing new has come for `idle`, at most for `max`. */
    batch: z
      .strictObject({
        idle: duration(0, MINUTE).default(SECOND),
        max: duration(0, 10 * MINUTE).default(10 * SECOND),
      })
      .prefault({}),
    /** The provider's answer to a launch call. */
    launchTimeout: duration(SECOND, HOUR).default(5 * MINUTE),
    /** A VM whose agent has not joined by then is deleted and another provider tried. */
    joinTimeout: duration(SECOND, DAY).default(15 * MINUTE),
    /** From one search for VMs that nobody knows to the next. */
    sweepInterval: duration(10 * SECOND, DAY).default(2 * MINUTE),
    remove: z
      .strictObject({
        emptyAfter: duration(0, DAY).default(60 * SECOND),
        /** Per cent allocated, of whichever resource is allocated most. */
        below: percent.default(50),
        belowAfter: duration(0, DAY).default(10 * MINUTE),
        afterAdd: duration(0, DAY).default(10 * MINUTE),
        percentAtOnce: percent.default(10),
        nonEmptyAtOnce: z.int().min(0).max(100).default(1),
      })
      .prefault({}),
    breakers: z
      .strictObject({
        /** More than this share and more than that many nodes away: touch nothing. */
        freezePercent: percent.default(45),
        freezeNodes: z.int().min(0).max(10_000).default(3),
        /** Lost nodes are deleted for good only while no larger share is unhealthy. */
        replacePercent: percent.default(20),
        replaceAfter: duration(0, DAY).default(10 * MINUTE),
      })
      .prefault({}),
    packing: z
      .strictObject({
        /** Fill the fullest node that has room, or the emptiest. */
        strategy: z.enum(["pack", "spread"]).default("pack"),
        /** One process on a node, nothing beside it. */
        exclusive: z.boolean().default(false),
        maxPerNode: z.int().min(1).max(100_000).optional(),
        /** Keep the processes of one subscription on different nodes, and evenly over zones. */
        apart: apartInput.prefault({}),
        /** Processes that one node starts at the same time; the next ones wait until some of them run. */
        startsAtOnce: z.int().min(1).max(1000).default(8),
        /** Moves for a better spread when a node joins. */
        rebalanceMoves: z.int().min(0).max(100).default(2),
      })
      .prefault({}),
  })
  .refine(({ minNodes, maxNodes }) => minNodes <= maxNodes, {
    path: ["minNodes"],
    message: "minNodes is above maxNodes",
  })
  .refine(({ batch }) => batch.idle <= batch.max, { path: ["batch"], message: "idle is above max" })
  .refine(({ providers }) => new Set(providers.map(choiceKey)).size === providers.length, {
    path: ["providers"],
    message: "the same provider, flavor and zone is there twice",
  });
export type PartitionPolicy = z.output<typeof PartitionPolicyInput>;

/** The name of one line of `providers` in states and traces. */
export function choiceKey(choice: Pick<ProviderChoice, "provider" | "flavor" | "zone">): string {
  return [choice.provider, choice.flavor, ...(choice.zone === undefined ? [] : [choice.zone])].join(
    "/",
  );
}

function canMove(rate: { readonly processes: number; readonly percent: number }): boolean {
  return rate.processes > 0 || rate.percent > 0;
}

type Fault = { readonly path: readonly (string | number)[]; readonly message: string };

function scalingPolicyFaults(policy: ScalingPolicy): readonly Fault[] {
  return [...boundsFaults(policy), ...metricFaults(policy), ...windowFaults(policy)];
}

/** The effective bounds at any time are the highest min and the lowest max of what is active, so looking at every
 * schedule and every pair that can overlap is enough. */
function boundsFaults({ min, max, schedules }: ScalingPolicy): readonly Fault[] {
  const faults: Fault[] = [];
  if (min > max) faults.push({ path: ["min"], message: `min ${min} is above max ${max}` });
  schedules.forEach((schedule, index) => {
    const own = { min: schedule.min ?? min, max: schedule.max ?? max };
    if (own.min > own.max || (schedule.initialMin ?? 0) > own.max) {
      const message = `schedule ${index} has at least ${Math.max(own.min, schedule.initialMin ?? 0)} and at most ${own.max}; give it both bounds`;
      faults.push({ path: ["schedules", index], message });
    }
    schedules.slice(0, index).forEach((other, otherIndex) => {
      if (!contradict(schedule, other) || !canOverlap(schedule, other)) return;
      const message = `can be active together with schedule ${otherIndex}, and then min is above max`;
      faults.push({ path: ["schedules", index], message });
    });
  });
  return faults;
}

function contradict(a: Schedule, b: Schedule): boolean {
  const least = (schedule: Schedule): number =>
    Math.max(schedule.min ?? 0, schedule.initialMin ?? 0);
  return least(a) > (b.max ?? Infinity) || least(b) > (a.max ?? Infinity);
}

function metricFaults({ metrics, min, schedules }: ScalingPolicy): readonly Fault[] {
  const faults: Fault[] = [];
  const keys = metrics.map(metricKey);
  keys.forEach((key, index) => {
    if (keys.indexOf(key) === index) return;
    faults.push({ path: ["metrics", index], message: `${key} is there twice` });
  });
  const canSleep = min === 0 || schedules.some((schedule) => schedule.min === 0);
  if (canSleep && metrics.length > 0 && !metrics.some((metric) => "activation" in metric)) {
    const message =
      "min 0 needs a metric that can wake it: in-flight, requests, custom or prometheus";
    faults.push({ path: ["min"], message });
  }
  return faults;
}

function windowFaults({ sampleInterval, stableWindow, panic }: ScalingPolicy): readonly Fault[] {
  const faults: Fault[] = [];
  if (panic.window > stableWindow) {
    faults.push({
      path: ["panic", "window"],
      message: "the panic window is longer than the stable window",
    });
  }
  if (stableWindow < sampleInterval || stableWindow > WINDOW_POINTS_MAX * sampleInterval) {
    const message = `the stable window is 1 to ${WINDOW_POINTS_MAX} sampling intervals long`;
    faults.push({ path: ["stableWindow"], message });
  }
  return faults;
}
