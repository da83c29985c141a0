/** A scenario: partitions with their providers, subscriptions with their loads, and what goes wrong when. */
import { PartitionPolicyInput, ScalingPolicyInput } from "@strata/protocol/api/autoscale";
import { Name } from "@strata/protocol/names";
import { Bytes, CpuMillis, DurationMs } from "@strata/protocol/units";
import { z } from "zod";

import { CurveInput } from "./curve.ts";

const DAY_MS = 86_400_000;

const ProviderInput = z.strictObject({
  name: Name,
  /** From the request to an agent that is ready. Each node takes up to a fifth more or less. */
  bootTime: DurationMs.default(90_000),
});

const PartitionInput = z.strictObject({
  name: Name,
  /** Every provider choice needs a capacity and a price. */
  policy: PartitionPolicyInput,
  /** From one decision of level 2 to the next when nothing happens. */
  interval: DurationMs.default(10_000),
  /** Level 2 also decides at once when a process finds no place, or when it asked to be woken. */
  wakes: z.boolean().default(true),
});

const SubscriptionInput = z.strictObject({
  name: Name,
  partition: Name,
  resources: z.strictObject({
    cpu: CpuMillis.default(500),
    memory: Bytes.default(512 * 1024 * 1024),
    pids: z.int().min(1).default(256),
  }),
  policy: ScalingPolicyInput,
  load: CurveInput,
  /** Relative standard deviation of the load from one second to the next. */
  burstiness: z.number().min(0).max(2).default(0.05),
  /** Load that one process can carry within its objective, in the unit of `load`, which is per second. */
  capacity: z.number().positive(),
  /** How long a request is in flight when nothing waits. */
  serviceTime: DurationMs.default(50),
  /** A request that would wait for longer than this violates the objective. */
  waitMax: DurationMs.default(1000),
  /** Waiting work is given up beyond this; zero for a queue that loses nothing. */
  giveUpAfter: DurationMs.default(10_000),
  /** From a place on a node to a ready process. */
  startTime: DurationMs.default(3000),
  /** From the stop of routing to the end of a process. */
  drainTime: DurationMs.default(5000),
});

const FailureInput = z.discriminatedUnion("kind", [
  /** A share of a partition's ready nodes goes silent for good. */
  z.strictObject({
    kind: z.literal("nodes"),
    partition: Name,
    at: DurationMs,
    percent: z.number().min(0).max(100),
  }),
  /** A provider refuses every request, or makes VMs that never join. */
  z.strictObject({
    kind: z.literal("provider"),
    provider: Name,
    from: DurationMs,
    to: DurationMs,
    how: z.enum(["refuses", "never-joins"]).default("refuses"),
  }),
]);

export const ScenarioInput = z
  .strictObject({
    name: Name,
    start: z.iso.datetime().default("2026-01-05T00:00:00Z"),
    duration: DurationMs.refine(
      (ms) => ms > 0 && ms <= 60 * DAY_MS,
      "more than 0 and at most 60 d",
    ),
    /** The beginning that only lets the scalers learn: it is run, but not counted. */
    learn: DurationMs.default(0),
    seed: z.int().min(0).default(1),
    providers: z.array(ProviderInput).max(16),
    partitions: z.array(PartitionInput).min(1).max(100),
    subscriptions: z.array(SubscriptionInput).min(1).max(1000),
    failures: z.array(FailureInput).max(100).default([]),
    /** Who goes when a subscription shrinks: our rule 10, or the ranking of a Kubernetes ReplicaSet. */
    victims: z.enum(["strata", "replica-set"]).default("strata"),
  })
  .superRefine((scenario, context) => {
    for (const message of danglingNames(scenario)) context.addIssue({ code: "custom", message });
  });
export type Scenario = z.output<typeof ScenarioInput>;
export type ScenarioSubscription = Scenario["subscriptions"][number];
export type ScenarioPartition = Scenario["partitions"][number];

type Names = Pick<z.output<typeof ScenarioInput>, "learn" | "duration">;

function danglingNames(
  scenario: {
    readonly providers: readonly { readonly name: string }[];
    readonly partitions: readonly z.output<typeof PartitionInput>[];
    readonly subscriptions: readonly { readonly name: string; readonly partition: string }[];
    readonly failures: readonly z.output<typeof FailureInput>[];
  } & Names,
): readonly string[] {
  const partitions = new Set(scenario.partitions.map(({ name }) => name));
  const providers = new Set(scenario.providers.map(({ name }) => name));
  const missing: string[] = [];
  for (const { name, partition } of scenario.subscriptions) {
    if (!partitions.has(partition))
      missing.push(`subscription ${name} is in no partition of the scenario`);
  }
  for (const { name, policy } of scenario.partitions) {
    for (const choice of policy.providers) {
      if (!providers.has(choice.provider))
        missing.push(`partition ${name} has the unknown provider ${choice.provider}`);
      if (choice.capacity === undefined)
        missing.push(`partition ${name} says no capacity of ${choice.flavor}`);
    }
  }
  for (const failure of scenario.failures) {
    const known =
      failure.kind === "nodes"
        ? partitions.has(failure.partition)
        : providers.has(failure.provider);
    if (!known) missing.push(`a failure hits something that the scenario does not have`);
  }
  if (scenario.learn >= scenario.duration) missing.push("learn is not shorter than duration");
  return missing;
}

/** Names of the traces that the loads need, for whoever reads the files. */
export function traceNames({ subscriptions }: Scenario): readonly string[] {
  return [
    ...new Set(subscriptions.flatMap(({ load }) => (load.kind === "trace" ? load.trace : []))),
  ];
}
