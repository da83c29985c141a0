import { type Scenario, ScenarioInput } from "@strata/controller/domain/simulate/scenario";

/** Nodes that the scenario has on average, at least. */
export const THOUSAND_NODES = 1000;
const PARTITIONS = 4;
const SUBSCRIPTIONS_EACH = 5;

/** A day of four partitions with five subscriptions each, whose loads come and go one after the other. */
export function thousandNodes(): Scenario {
  const partitions = Array.from({ length: PARTITIONS }, (_, index) => ({
    name: `p${index}`,
    policy: {
      maxNodes: 600,
      providers: [
        {
          provider: "cloud",
          flavor: "4-cpu",
          capacity: { cpu: 4, memory: "8Gi", pids: 8000 },
          price: 0.1,
        },
      ],
    },
  }));
  const subscriptions = partitions.flatMap((partition, index) =>
    Array.from({ length: SUBSCRIPTIONS_EACH }, (_, own) => ({
      name: `s${index}-${own}`,
      partition: partition.name,
      resources: { cpu: 0.5, memory: "1Gi" },
      capacity: 100,
      load: { kind: "sine", mean: 37_500, amplitude: 15_000, period: `${4 + own}h` },
      policy: { max: 1000, metrics: [{ kind: "requests", target: 85 }] },
    })),
  );
  return ScenarioInput.parse({
    name: "thousand-nodes",
    duration: "1d",
    providers: [{ name: "cloud" }],
    partitions,
    subscriptions,
  });
}
