/** What processes do in a simulation: wait for a place, start, serve, drain, go. */
import { createBin, packingOf, shareOf } from "../autoscale/l2/bins.ts";
import { pack } from "../autoscale/l2/pack.ts";
import { percentile } from "../autoscale/statistics.ts";
import {
  recount,
  type SimNode,
  type SimPartition,
  type SimProcess,
  type SimSubscription,
  type Simulation,
} from "./world.ts";

/** Durations that a measured percentile looks back on. */
const MEASURED_MAX = 50;

export function createProcess(
  sim: Simulation,
  subscription: SimSubscription,
  replaces: SimProcess | null = null,
): SimProcess {
  const process: SimProcess = {
    id: sim.nextId("p"),
    subscription,
    createdAt: sim.queue.now(),
    phase: "pending",
    ready: false,
    firstReadyAt: null,
    sample: null,
    node: null,
    placedAt: 0,
    drainingSince: 0,
    replaces,
    replacedBy: null,
  };
  if (replaces !== null) {
    replaces.replacedBy = process;
    subscription.moving += 1;
  }
  subscription.active.push(process);
  subscription.partition.pending.add(process);
  sim.meter.count("processStarts", 1, process.createdAt);
  if (replaces !== null) sim.meter.count("moves", 1, process.createdAt);
  return process;
}

/** Gives waiting processes a place on ready nodes, the way that level 2 packs them in its trials. */
export function placePending(sim: Simulation, partition: SimPartition): void {
  if (partition.pending.size === 0) return;
  const bins = partition.nodes
    .filter(({ status }) => status === "ready")
    .map((node) => createBin({ ...node, ready: true }));
  const waiting = new Map<string, SimProcess[]>();
  for (const process of partition.pending) {
    const name = process.subscription.spec.name;
    const list = waiting.get(name);
    if (list === undefined) waiting.set(name, [process]);
    else list.push(process);
  }
  const groups = [...waiting].flatMap(([name, [first, ...rest]]) =>
    first === undefined
      ? []
      : [{ subscription: name, size: first.subscription.size, count: rest.length + 1 }],
  );
  const { placed } = pack(
    groups,
    bins,
    packingOf({ policy: partition.spec.policy, offers: partition.offers }),
  );
  const nodes = new Map(partition.nodes.map((node) => [node.id, node]));
  for (const { subscription, binId, count } of placed) {
    const node = nodes.get(binId);
    for (const process of waiting.get(subscription)?.splice(0, count) ?? []) {
      if (node !== undefined) place(sim, process, node);
    }
  }
}

/** Puts a process on a node, where it starts. */
function place(sim: Simulation, process: SimProcess, node: SimNode): void {
  const now = sim.queue.now();
  const { subscription } = process;
  subscription.partition.pending.delete(process);
  process.phase = "starting";
  process.node = node;
  process.placedAt = now;
  node.processes.add(process);
  recount(node);
  sim.queue.schedule(now + subscription.spec.startTime, () => becomeReady(sim, process));
}

export function becomeReady(sim: Simulation, process: SimProcess): void {
  if (process.phase !== "starting" || process.node?.lost === true) return;
  const now = sim.queue.now();
  const { subscription, replaces } = process;
  process.phase = "ready";
  process.ready = true;
  process.firstReadyAt = now;
  subscription.ready += 1;
  subscription.startP90Ms = measureP90(subscription.starts, now - process.placedAt);
  if (replaces === null) return;
  process.replaces = null;
  subscription.moving -= 1;
  if (replaces.phase !== "gone") drainProcess(sim, replaces);
}

/** Remembers a duration and gives the 90th percentile of the last ones. */
export function measureP90(durations: number[], duration: number): number | null {
  durations.push(duration);
  if (durations.length > MEASURED_MAX) durations.shift();
  return percentile(durations, 0.9) ?? null;
}

/** Ends a process: at once if it serves nothing yet, else after its drain. */
export function drainProcess(sim: Simulation, process: SimProcess): void {
  const { subscription } = process;
  if (process.phase !== "ready") {
    removeProcess(sim, process);
    return;
  }
  const now = sim.queue.now();
  process.phase = "draining";
  process.ready = false;
  process.drainingSince = now;
  subscription.ready -= 1;
  subscription.active = subscription.active.filter((one) => one !== process);
  subscription.draining.add(process);
  sim.queue.schedule(
    now + Math.min(subscription.spec.drainTime, subscription.spec.policy.drainMax),
    () => {
      if (process.phase === "draining" && process.drainingSince === now)
        removeProcess(sim, process);
    },
  );
}

export function cancelDrain(process: SimProcess): void {
  const { subscription } = process;
  process.phase = "ready";
  process.ready = true;
  subscription.ready += 1;
  subscription.draining.delete(process);
  subscription.active.push(process);
}

export function removeProcess(sim: Simulation, process: SimProcess): void {
  const { subscription, node } = process;
  if (process.phase === "gone") return;
  const now = sim.queue.now();
  if (process.ready) subscription.ready -= 1;
  process.phase = "gone";
  process.ready = false;
  subscription.active = subscription.active.filter((one) => one !== process);
  subscription.draining.delete(process);
  subscription.partition.pending.delete(process);
  if (process.replaces !== null) {
    process.replaces.replacedBy = null;
    subscription.moving -= 1;
  }
  sim.meter.count("processStops", 1, now);
  if (node !== null) {
    meterPlace(sim, process);
    node.processes.delete(process);
    recount(node);
    placePending(sim, subscription.partition);
  }
}

/** Adds the share of its node that the process has held so far. */
export function meterPlace(sim: Simulation, { subscription, node, placedAt }: SimProcess): void {
  if (node === null) return;
  const now = sim.queue.now();
  const hours = sim.meter.hours(placedAt, now);
  sim.meter.count("allocatedNodeHours", hours * shareOf(subscription.size, node.capacity), now);
}
