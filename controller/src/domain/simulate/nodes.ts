/** What nodes do in a simulation: boot, serve, drain, get lost, go. */
import { providerFailed, providerWorked } from "../autoscale/l2/offers.ts";
import { createProcess, measureP90, meterPlace, placePending, removeProcess } from "./processes.ts";
import type { SimNode, SimPartition, Simulation } from "./world.ts";

/** How long a provider takes to say no. */
const REFUSAL_MS = 5000;
/** Three missed beats of five seconds. */
const AWAY_AFTER_MS = 15_000;
/** From the first missed beat to the replacement of a lost node's processes. */
const LOST_AFTER_MS = 60_000;
/** A node boots in its provider's time, up to this share more or less. */
const BOOT_SPREAD = 0.2;

export function requestNode(sim: Simulation, partition: SimPartition, offerKey: string): void {
  const offer = partition.offers.find(({ key }) => key === offerKey);
  if (offer === undefined) return;
  const now = sim.queue.now();
  const node: SimNode = {
    id: sim.nextId("n"),
    offer: offer.key,
    provider: offer.provider,
    zone: offer.zone,
    price: offer.price,
    capacity: offer.capacity,
    requestedAt: now,
    status: "booting",
    lost: false,
    awaySince: null,
    drainedByScaler: false,
    processes: new Set(),
    held: [],
  };
  partition.nodes.push(node);
  sim.meter.count("nodesAdded", 1, now);
  const failure = failureOf(sim, node.provider);
  if (failure === "refuses")
    sim.queue.schedule(now + REFUSAL_MS, () => refuse(sim, partition, node));
  if (failure !== undefined) return;
  const bootTime = sim.scenario.providers.find(({ name }) => name === node.provider)?.bootTime ?? 0;
  const spread = 1 + BOOT_SPREAD * (2 * sim.random() - 1);
  sim.queue.schedule(now + Math.round(bootTime * spread), () => join(sim, partition, node));
}

/** A node that is there from the beginning. */
export function seedNode(sim: Simulation, partition: SimPartition): void {
  const [offer] = partition.offers;
  if (offer === undefined) return;
  requestNode(sim, partition, offer.key);
  const node = partition.nodes.at(-1);
  if (node !== undefined) node.status = "ready";
}

function failureOf(sim: Simulation, provider: string): "refuses" | "never-joins" | undefined {
  const ms = sim.queue.now() - sim.startedAt;
  for (const failure of sim.scenario.failures) {
    if (failure.kind !== "provider" || failure.provider !== provider) continue;
    if (ms >= failure.from && ms < failure.to) return failure.how;
  }
  return undefined;
}

function refuse(sim: Simulation, partition: SimPartition, node: SimNode): void {
  // Many refusals of one request are one failure.
  const now = sim.queue.now();
  if ((partition.state.backOff[node.provider]?.until ?? 0) <= now) {
    partition.state = providerFailed(partition.state, node.provider, {
      policy: partition.spec.policy,
      now,
    });
  }
  deleteNode(sim, partition, node);
}

function join(sim: Simulation, partition: SimPartition, node: SimNode): void {
  if (node.status !== "booting") return;
  node.status = "ready";
  partition.bootP90Ms = measureP90(partition.boots, sim.queue.now() - node.requestedAt);
  partition.state = providerWorked(partition.state, node.provider);
  placePending(sim, partition);
}

/** Gives every process of the node a successor; each goes when its successor is ready. */
export function drainNode(sim: Simulation, partition: SimPartition, node: SimNode): void {
  node.status = "draining";
  node.drainedByScaler = true;
  for (const process of node.processes) {
    if (process.phase === "draining" || process.replacedBy !== null) continue;
    createProcess(sim, process.subscription, process);
  }
  placePending(sim, partition);
}

export function undrainNode(sim: Simulation, node: SimNode): void {
  node.status = "ready";
  node.drainedByScaler = false;
  for (const { replacedBy } of node.processes) {
    if (replacedBy !== null && replacedBy.phase !== "gone") removeProcess(sim, replacedBy);
  }
}

export function deleteNode(sim: Simulation, partition: SimPartition, node: SimNode): void {
  const now = sim.queue.now();
  if (node.status === "deleting") return;
  node.status = "deleting";
  partition.nodes = partition.nodes.filter((one) => one !== node);
  for (const process of node.processes) removeProcess(sim, process);
  sim.meter.count("nodesRemoved", 1, now);
  bill(sim, node);
}

/** Adds what the node has cost so far. */
function bill(sim: Simulation, node: SimNode): void {
  const now = sim.queue.now();
  const hours = sim.meter.hours(node.requestedAt, now);
  sim.meter.count("nodeHours", hours, now);
  sim.meter.count("cost", hours * node.price, now);
}

/** Some ready nodes go silent at once. Their processes serve nothing from now on; that they are gone is known later. */
export function loseNodes(sim: Simulation, partition: SimPartition, percent: number): void {
  const ready = partition.nodes.filter(({ status }) => status === "ready");
  const lost = ready.slice(0, Math.round((ready.length * percent) / 100));
  const now = sim.queue.now();
  for (const node of lost) {
    node.lost = true;
    for (const process of node.processes) {
      if (process.ready) process.subscription.ready -= 1;
      process.ready = false;
    }
    sim.queue.schedule(now + AWAY_AFTER_MS, () => {
      if (node.status === "deleting") return;
      node.status = "away";
      node.awaySince = now + AWAY_AFTER_MS;
    });
    sim.queue.schedule(now + LOST_AFTER_MS, () => replaceLost(sim, partition, node));
  }
}

function replaceLost(sim: Simulation, partition: SimPartition, node: SimNode): void {
  for (const process of node.processes) {
    const { subscription, phase } = process;
    removeProcess(sim, process);
    if (phase !== "draining") createProcess(sim, subscription);
  }
  placePending(sim, partition);
}

/** Bills what is still there when the simulation ends. */
export function billAll(sim: Simulation): void {
  for (const partition of sim.partitions) {
    for (const node of partition.nodes) {
      bill(sim, node);
      for (const process of node.processes) meterPlace(sim, process);
    }
  }
}
