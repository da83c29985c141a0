/** Runs a scenario through the real scalers with a virtual clock. */
import { choiceKey } from "@strata/protocol/api/autoscale";

import { INITIAL_L1_STATE } from "../autoscale/l1/model.ts";
import { createBin, packingOf } from "../autoscale/l2/bins.ts";
import { INITIAL_L2_STATE, type Offer } from "../autoscale/l2/model.ts";
import { pack } from "../autoscale/l2/pack.ts";
import { ceilCount } from "../autoscale/statistics.ts";
import { compileCurve } from "./curve.ts";
import { createEventQueue } from "./event-queue.ts";
import { tickLevelOne } from "./level-one.ts";
import { tickLevelTwo } from "./level-two.ts";
import { METER_INTERVAL_MS, serve } from "./load.ts";
import { createMeter, reportOf, type SimulationReport } from "./meter.ts";
import { billAll, loseNodes, seedNode } from "./nodes.ts";
import { becomeReady, createProcess, placePending } from "./processes.ts";
import { createRandom } from "./random.ts";
import type { Scenario, ScenarioPartition } from "./scenario.ts";
import { beginSeason, NOTHING_USUAL } from "./season.ts";
import { createSeries, type RunSeries, type SeriesRecorder } from "./series.ts";
import type { TraceSample } from "./trace.ts";
import type { SimPartition, SimSubscription, Simulation } from "./world.ts";

export type SimulationResult = {
  readonly report: SimulationReport;
  readonly series: readonly RunSeries[];
};

/** Deterministic: the same scenario and traces give the same result on every machine.
 * @param traces samples of the traces that the scenario's loads name */
export function simulate(
  scenario: Scenario,
  traces: Readonly<Record<string, readonly TraceSample[]>> = {},
): SimulationResult {
  const sim = createSimulation(scenario, traces);
  const recorder = createSeries(sim);
  for (const partition of sim.partitions) startPartition(sim, partition);
  // What is there from the beginning is no change.
  Object.assign(sim.meter.totals, { processStarts: 0, nodesAdded: 0 });
  for (const subscription of sim.subscriptions) startSubscription(sim, subscription, recorder);
  for (const partition of sim.partitions) {
    every(sim, partition.spec.interval, () => {
      tickLevelTwo(sim, partition);
    });
  }
  scheduleFailures(sim);
  const end = sim.startedAt + scenario.duration;
  sim.queue.runUntil(end);
  billAll(sim);
  return { report: reportOf(sim.meter, { name: scenario.name, end }), series: recorder.series };
}

/** Highest load of each subscription in the whole scenario, looked at every ten seconds. */
export function peakLoads(
  scenario: Scenario,
  traces: Readonly<Record<string, readonly TraceSample[]>> = {},
): Readonly<Record<string, number>> {
  return Object.fromEntries(
    scenario.subscriptions.map(({ name, load }) => {
      const loadAt = compileCurve(load, traces);
      let peak = 0;
      for (let ms = 0; ms < scenario.duration; ms += 10_000) peak = Math.max(peak, loadAt(ms));
      return [name, peak];
    }),
  );
}

function createSimulation(
  scenario: Scenario,
  traces: Readonly<Record<string, readonly TraceSample[]>>,
): Simulation {
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

/** Begins with the nodes and processes that the first load needs, so that no run pays for a cold start. */
function startPartition(sim: Simulation, partition: SimPartition): void {
  for (const subscription of partition.subscriptions) {
    const { spec, loadAt } = subscription;
    const { min, max } = spec.policy;
    const wanted = ceilCount((1.25 * loadAt(0)) / spec.capacity);
    subscription.desired = Math.min(max, Math.max(min, wanted));
    for (let count = 0; count < subscription.desired; count += 1) createProcess(sim, subscription);
  }
  const [offer] = partition.offers;
  if (offer === undefined) return;
  const groups = partition.subscriptions.map(({ spec, size, desired }) => ({
    subscription: spec.name,
    size,
    count: desired,
  }));
  const packing = packingOf({ policy: partition.spec.policy, offers: partition.offers });
  let { left } = pack(groups, [], packing);
  while (left.length > 0 && partition.nodes.length < partition.spec.policy.maxNodes) {
    seedNode(sim, partition);
    const bin = createBin({
      id: "",
      zone: offer.zone,
      capacity: offer.capacity,
      held: [],
      ready: true,
    });
    const packed = pack(left, [bin], packing);
    if (packed.placed.length === 0) break;
    left = packed.left;
  }
  placePending(sim, partition);
  for (const { active } of partition.subscriptions)
    for (const process of active) becomeReady(sim, process);
}

function startSubscription(
  sim: Simulation,
  subscription: SimSubscription,
  recorder: SeriesRecorder,
): void {
  every(sim, METER_INTERVAL_MS, () => serve(sim, subscription));
  every(sim, subscription.spec.policy.sampleInterval, () => {
    recorder.record(subscription, tickLevelOne(sim, subscription));
  });
}

function every(sim: Simulation, intervalMs: number, run: () => void): void {
  const tick = (): void => {
    run();
    sim.queue.schedule(sim.queue.now() + intervalMs, tick);
  };
  sim.queue.schedule(sim.startedAt + intervalMs, tick);
}

function scheduleFailures(sim: Simulation): void {
  for (const failure of sim.scenario.failures) {
    if (failure.kind !== "nodes") continue;
    const partition = sim.partitions.find(({ spec }) => spec.name === failure.partition);
    if (partition === undefined) continue;
    sim.queue.schedule(sim.startedAt + failure.at, () =>
      loseNodes(sim, partition, failure.percent),
    );
  }
}
