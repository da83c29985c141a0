/** What others do by default, written as policies for the same engine: a fixed peak, and Kubernetes' HPA with its
 * cluster-autoscaler. Where their rules differ from what a policy can say, the difference favours them: they get our
 * signals without the delay of a metrics pipeline, and start before stop when a node is drained. */
import {
  type Metric,
  PartitionPolicyInput,
  ScalingPolicyInput,
} from "@strata/protocol/api/autoscale";
import { z } from "zod";

import type { Candidate } from "../autoscale/l1/victims.ts";
import { ceilCount } from "../autoscale/statistics.ts";
import type { Scenario, ScenarioPartition, ScenarioSubscription } from "./scenario.ts";

/** Defaults of `autoscaling/v2`: 15 s sync, tolerance 0.1, 300 s down stabilisation, 4 or 100 % up in 15 s, 100 %
 * down in 15 s; one fresh measurement, no panic, no forecast, no season. */
const hpa = {
  sampleInterval: 15,
  stableWindow: 15,
  panic: { window: 15, threshold: null },
  tolerance: { up: 0.1, down: 0.1 },
  forecast: { enabled: false },
  seasonal: { mode: "off" },
  stabilisation: { grow: 0, shrink: 300 },
  rates: {
    grow: { processes: 4, percent: 100, period: 15 },
    shrink: { processes: 0, percent: 100, period: 15 },
  },
} as const;

const SCAN_MS = 10_000;

/** Defaults of the cluster-autoscaler: 10 s scan, 10 min unneeded below 50 %, nothing
 * within 10 min of an add, one node drained at a time; the scheduler takes the least allocated node. */
const clusterAutoscaler = {
  headroom: { percent: 0 },
  forecast: { enabled: false },
  batch: { idle: 0 },
  remove: {
    emptyAfter: 600,
    below: 50,
    belowAfter: 600,
    afterAdd: 600,
    // It deletes ten empty nodes at once; without a limit here, a partition of any size loses nothing by it.
    percentAtOnce: 100,
    nonEmptyAtOnce: 1,
  },
  packing: { strategy: "spread" },
} as const;

/** What HPA aims at when nobody says another target: 80 % of what a process can carry. */
const HPA_UTILISATION = 0.8;

/** The scenario as Kubernetes would run it: the same metrics, bounds and providers, and HPA's default target, or with
 * `same` the targets of the scenario. A queue has no default target, so it always keeps its own. */
export function asKubernetes(
  scenario: Scenario,
  targets: "default" | "same" = "default",
): Scenario {
  return {
    ...scenario,
    victims: "replica-set",
    subscriptions: scenario.subscriptions.map(({ policy, ...rest }): ScenarioSubscription => {
      const { min, max, metrics: own, idleAfter } = z.encode(ScalingPolicyInput, policy);
      const metrics =
        targets === "same"
          ? own
          : policy.metrics.map((metric, index) => ({
              ...own?.[index],
              target: defaultTarget(metric, rest),
            }));
      return {
        ...rest,
        policy: ScalingPolicyInput.parse({ ...hpa, min, max, metrics, idleAfter }),
      };
    }),
    partitions: scenario.partitions.map(({ policy, ...rest }): ScenarioPartition => {
      const { minNodes, maxNodes, providers, order } = z.encode(PartitionPolicyInput, policy);
      const own = { ...clusterAutoscaler, minNodes, maxNodes, providers, order };
      return { ...rest, interval: SCAN_MS, wakes: false, policy: PartitionPolicyInput.parse(own) };
    }),
  };
}

function defaultTarget(
  metric: Metric,
  { capacity, serviceTime }: Pick<ScenarioSubscription, "capacity" | "serviceTime">,
): number {
  switch (metric.kind) {
    case "requests":
      return HPA_UTILISATION * capacity;
    case "in-flight":
      return (HPA_UTILISATION * capacity * serviceTime) / 1000;
    case "cpu":
    case "memory":
      return 100 * HPA_UTILISATION;
    case "custom":
    case "prometheus":
      return metric.target;
    default:
      return metric satisfies never;
  }
}

/** Enough processes for the highest load, all the time.
 * @param peaks highest load of each subscription, by its name */
export function asFixedPeak(scenario: Scenario, peaks: Readonly<Record<string, number>>): Scenario {
  return {
    ...scenario,
    subscriptions: scenario.subscriptions.map((subscription): ScenarioSubscription => {
      const count = ceilCount((peaks[subscription.name] ?? 0) / subscription.capacity);
      return { ...subscription, policy: ScalingPolicyInput.parse({ min: count, max: count }) };
    }),
  };
}

/** The ranking of a ReplicaSet: first where most of the same set are together, then the newest. It spreads, where
 * rule 10 empties nodes. */
export function chooseLikeReplicaSet(
  candidates: readonly Candidate[],
  count: number,
): readonly string[] {
  const together = new Map<string, number>();
  for (const { nodeId } of candidates) together.set(nodeId, (together.get(nodeId) ?? 0) + 1);
  return candidates
    .toSorted(
      (a, b) =>
        (together.get(b.nodeId) ?? 0) - (together.get(a.nodeId) ?? 0) ||
        b.createdAt - a.createdAt ||
        (a.id < b.id ? -1 : 1),
    )
    .slice(0, Math.max(0, count))
    .map(({ id }) => id);
}
