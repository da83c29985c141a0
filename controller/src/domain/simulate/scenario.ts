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
  resources: z
    .strictObject({
      cpu: CpuMillis.default(500),
      memory: Bytes.default(512 * 1024 * 1024),
      pids: z.int().min(1).default(256),
    })
    .prefault({}),
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
    for (const { path, message } of faultsOf(scenario)) {
      context.addIssue({ code: "custom", path: [...path], message });
    }
  });
export type Scenario = z.output<typeof ScenarioInput>;
export type ScenarioSubscription = Scenario["subscriptions"][number];
export type ScenarioPartition = Scenario["partitions"][number];

type Fault = { readonly path: readonly (string | number)[]; readonly message: string };

type Parts = {
  readonly learn: number;
  readonly duration: number;
  readonly providers: readonly z.output<typeof ProviderInput>[];
  readonly partitions: readonly z.output<typeof PartitionInput>[];
  readonly subscriptions: readonly z.output<typeof SubscriptionInput>[];
  readonly failures: readonly z.output<typeof FailureInput>[];
};

function faultsOf(scenario: Parts): readonly Fault[] {
  const faults = [
    ...repeatedNames(scenario),
    ...subscriptionFaults(scenario),
    ...providerFaults(scenario),
    ...failureFaults(scenario),
  ];
  if (scenario.learn < scenario.duration) return faults;
  return [...faults, { path: ["learn"], message: "learn is not shorter than duration" }];
}

function repeatedNames(scenario: Parts): readonly Fault[] {
  return (["providers", "partitions", "subscriptions"] as const).flatMap((kind) => {
    const names = scenario[kind].map(({ name }) => name);
    return names.flatMap((name, index) =>
      names.indexOf(name) === index
        ? []
        : [{ path: [kind, index, "name"], message: `${name} is there twice` }],
    );
  });
}

function subscriptionFaults({ partitions, subscriptions }: Parts): readonly Fault[] {
  const known = new Set(partitions.map(({ name }) => name));
  return subscriptions.flatMap(({ partition }, index) =>
    known.has(partition)
      ? []
      : [
          {
            path: ["subscriptions", index, "partition"],
            message: `the scenario has no partition ${partition}`,
          },
        ],
  );
}

function providerFaults({ providers, partitions }: Parts): readonly Fault[] {
  const known = new Set(providers.map(({ name }) => name));
  return partitions.flatMap(({ policy }, index) =>
    policy.providers.flatMap(({ provider, capacity }, choice) => {
      const path = ["partitions", index, "policy", "providers", choice];
      const faults: Fault[] = [];
      if (!known.has(provider)) {
        const message = `the scenario has no provider ${provider}`;
        faults.push({ path: [...path, "provider"], message });
      }
      if (capacity === undefined) {
        const message = "say what a node offers: no provider can be asked here";
        faults.push({ path: [...path, "capacity"], message });
      }
      return faults;
    }),
  );
}

function failureFaults({ partitions, providers, failures }: Parts): readonly Fault[] {
  return failures.flatMap((failure, index) => {
    const [field, name, known] =
      failure.kind === "nodes"
        ? ["partition", failure.partition, partitions]
        : ["provider", failure.provider, providers];
    return known.some((one) => one.name === name)
      ? []
      : [{ path: ["failures", index, field], message: `the scenario has no ${field} ${name}` }];
  });
}

/** Names of the traces that the loads need, for whoever reads the files. */
export function traceNames({ subscriptions }: Scenario): readonly string[] {
  return [
    ...new Set(subscriptions.flatMap(({ load }) => (load.kind === "trace" ? load.trace : []))),
  ];
}
