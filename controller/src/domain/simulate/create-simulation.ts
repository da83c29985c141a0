/** The beginning of a simulation: everything that a scenario names, with nothing running yet. */
import { choiceKey } from "@strata/protocol/api/autoscale";

import { INITIAL_L1_STATE } from "../autoscale/l1/model.ts";
import { INITIAL_L2_STATE, type Offer } from "../autoscale/l2/model.ts";
import { compileCurve } from "./curve.ts";
import { createEventQueue } from "./event-queue.ts";
import { createMeter } from "./meter.ts";
import { createRandom } from "./random.ts";
import type { Scenario, ScenarioPartition } from "./scenario.ts";
import { beginSeason, NOTHING_USUAL } from "./season.ts";
import type { Traces } from "./trace.ts";
import type { SimPartition, SimSubscription, Simulation } from "./world.ts";

export function createSimulation(scenario: Scenario, traces: Traces): Simulation {
  const startedAt = Date.parse(scenario.start);
  let made = 0;
  const partitions = scenario.partitions.map(createPartition);
  const subscriptions = scenario.subscriptions.flatMap((spec): readonly SimSubscription[] => {
    const partition = partitions.find((one) => one.spec.name === spec.partition);
    if (partition === undefined) return [];
    const { cpu, memory, pids } = spec.resources;
    const subscription: SimSubscription = {
      spec,
      partition,
      size: { cpuMillis: cpu, memoryBytes: memory, pids },
      loadAt: compileCurve(spec.load, traces),
      active: [],
      draining: new Set(),
      ready: 0,
      moving: 0,
      desired: 0,
      state: INITIAL_L1_STATE,
      backlog: 0,
      arrived: { amount: 0, seconds: 0 },
      season: beginSeason(),
      usual: { atStart: NOTHING_USUAL, atHorizon: NOTHING_USUAL },
      starts: [],
      startP90Ms: null,
    };
    partition.subscriptions.push(subscription);
    return [subscription];
  });
  return {
    scenario,
    startedAt,
    queue: createEventQueue(startedAt),
    random: createRandom(scenario.seed),
    meter: createMeter(startedAt + scenario.learn),
    partitions,
    subscriptions,
    nextId: (prefix) => {
      made += 1;
      return `${prefix}${String(made).padStart(8, "0")}`;
    },
  };
}

function createPartition(spec: ScenarioPartition): SimPartition {
  const offers = spec.policy.providers.flatMap((choice): readonly Offer[] => {
    if (choice.capacity === undefined) return [];
    const { cpu, memory, pids } = choice.capacity;
    return [
      {
        key: choiceKey(choice),
        provider: choice.provider,
        zone: choice.zone ?? null,
        capacity: { cpuMillis: cpu, memoryBytes: memory, pids },
        price: choice.price ?? 0,
        maxNodes: choice.maxNodes ?? Infinity,
      },
    ];
  });
  return {
    spec,
    offers,
    nodes: [],
    subscriptions: [],
    pending: new Set(),
    woken: false,
    state: INITIAL_L2_STATE,
    boots: [],
    bootP90Ms: null,
  };
}
