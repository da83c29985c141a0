/** Runs a scenario through the real scalers with a virtual clock. */
import { createBin, packingOf } from "../autoscale/l2/bins.ts";
import { pack } from "../autoscale/l2/pack.ts";
import { ceilCount } from "../autoscale/statistics.ts";
import { createSimulation } from "./create-simulation.ts";
import { compileCurve } from "./curve.ts";
import { tickLevelOne } from "./level-one.ts";
import { tickLevelTwo } from "./level-two.ts";
import { METER_INTERVAL_MS, serve } from "./load.ts";
import { reportOf, type SimulationReport } from "./meter.ts";
import { billAll, loseNodes, seedNode } from "./nodes.ts";
import { becomeReady, createProcess, placePending } from "./processes.ts";
import type { Scenario } from "./scenario.ts";
import { createSeries, type RunSeries, type SeriesRecorder } from "./series.ts";
import type { Traces } from "./trace.ts";
import type { SimPartition, SimSubscription, Simulation } from "./world.ts";

export type SimulationResult = {
  readonly report: SimulationReport;
  readonly series: readonly RunSeries[];
};

/** A simulation that is carried on bit by bit, so that the caller can tell how far it is, or stop it. */
export type SimulationRun = {
  /** Goes on until this share, 0 to 1, of the simulated time is over. Never goes back. */
  readonly advance: (share: number) => void;
  /** What there is to say of the time so far. Call it once, at the end. */
  readonly finish: () => SimulationResult;
};

/** Runs a whole scenario. Deterministic: the same scenario and traces give the same result on every machine.
 * @param traces samples of the traces that the scenario's loads name */
export function simulate(scenario: Scenario, traces: Traces = {}): SimulationResult {
  const run = beginSimulation(scenario, traces);
  run.advance(1);
  return run.finish();
}

export function beginSimulation(scenario: Scenario, traces: Traces = {}): SimulationRun {
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
  return {
    advance: (share) =>
      sim.queue.runUntil(Math.max(sim.queue.now(), sim.startedAt + share * scenario.duration)),
    finish: () => {
      billAll(sim);
      const end = sim.queue.now();
      return { report: reportOf(sim.meter, { name: scenario.name, end }), series: recorder.series };
    },
  };
}

/** Highest load of each subscription in the whole scenario, looked at every ten seconds. */
export function peakLoads(
  scenario: Scenario,
  traces: Traces = {},
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
