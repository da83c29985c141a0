/** Level 2 in a simulation: the real `decidePartition`, and the thin shell that carries out what it says. */
import { processesAtHorizon } from "../autoscale/l1/horizon.ts";
import { decidePartition } from "../autoscale/l2/decide.ts";
import type { L2Action, L2Decision, SubscriptionView } from "../autoscale/l2/model.ts";
import { deleteNode, drainNode, requestNode, undrainNode } from "./nodes.ts";
import { placePending } from "./processes.ts";
import type { SimPartition, SimSubscription, Simulation } from "./world.ts";

/** Asks for a decision at that time, unless one is asked for already or the partition only looks now and then. */
export function wakeLevelTwo(sim: Simulation, partition: SimPartition, at: number): void {
  if (partition.woken || !partition.spec.wakes) return;
  partition.woken = true;
  sim.queue.schedule(at, () => {
    partition.woken = false;
    tickLevelTwo(sim, partition);
  });
}

export function tickLevelTwo(sim: Simulation, partition: SimPartition): L2Decision {
  const now = sim.queue.now();
  const decision = decidePartition({
    policy: partition.spec.policy,
    offers: partition.offers,
    nodes: partition.nodes,
    subscriptions: partition.subscriptions.map((subscription) => viewOf(sim, subscription)),
    state: partition.state,
    now,
  });
  partition.state = decision.state;
  for (const action of decision.actions) carryOut(sim, partition, action);
  if (decision.wakeAt !== null) wakeLevelTwo(sim, partition, decision.wakeAt);
  sim.meter.count("decisions", 1, now);
  if (now >= sim.meter.countFrom) {
    sim.meter.totals.peakNodes = Math.max(sim.meter.totals.peakNodes, partition.nodes.length);
  }
  return decision;
}

function viewOf(sim: Simulation, subscription: SimSubscription): SubscriptionView {
  const { spec, size, desired, state, usual, partition } = subscription;
  const { enabled, horizon } = partition.spec.policy.forecast;
  const bootMs = partition.bootP90Ms ?? horizon;
  const atHorizon = enabled
    ? processesAtHorizon({
        policy: spec.policy,
        state,
        current: desired,
        seasonal: usual.atHorizon.loads,
        horizonMs: bootMs + (subscription.startP90Ms ?? 0),
        now: sim.queue.now(),
      })
    : desired;
  return { name: spec.name, size, desired, atHorizon };
}

function carryOut(sim: Simulation, partition: SimPartition, action: L2Action): void {
  if (action.kind === "add") {
    for (let made = 0; made < action.count; made += 1) requestNode(sim, partition, action.offer);
    return;
  }
  const node = partition.nodes.find(({ id }) => id === action.nodeId);
  if (node === undefined) return;
  switch (action.kind) {
    case "drain":
      drainNode(sim, partition, node);
      return;
    case "cancel-drain":
      undrainNode(sim, node);
      placePending(sim, partition);
      return;
    case "delete":
      deleteNode(sim, partition, node);
      return;
    default:
      action satisfies never;
  }
}
