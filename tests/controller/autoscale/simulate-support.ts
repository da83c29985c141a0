/** Scenarios for the simulator. */
import { type Scenario, ScenarioInput } from "@strata/controller/domain/simulate/scenario";

export const HOUR_MS = 3_600_000;

type Parts = {
  readonly scenario?: Record<string, unknown>;
  readonly partition?: Record<string, unknown>;
  readonly subscription?: Record<string, unknown>;
  readonly policy?: Record<string, unknown>;
};

/** One subscription of processes that carry 100 a second each, eight to a node. */
export function aScenario(parts: Parts = {}): Scenario {
  const capacity = { cpu: 4, memory: "8Gi", pids: 8000 };
  return ScenarioInput.parse({
    name: "test",
    duration: "1h",
    providers: [
      { name: "a", bootTime: "60s" },
      { name: "b", bootTime: "60s" },
    ],
    partitions: [
      {
        name: "p",
        policy: {
          providers: [
            { provider: "a", flavor: "m", capacity, price: 1 },
            { provider: "b", flavor: "m", capacity, price: 2 },
          ],
          ...parts.partition,
        },
      },
    ],
    subscriptions: [
      {
        name: "web",
        partition: "p",
        resources: { cpu: 0.5, memory: "1Gi", pids: 256 },
        capacity: 100,
        load: { kind: "step", from: 1000, to: 1000, at: 0 },
        policy: { max: 1000, metrics: [{ kind: "requests", target: 80 }], ...parts.policy },
        ...parts.subscription,
      },
    ],
    ...parts.scenario,
  });
}
