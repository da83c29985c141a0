/** Level 1 in a simulation: the real `decide`, and the thin shell that carries out what it says. */
import { metricKey } from "@strata/protocol/api/autoscale";

import { decide } from "../autoscale/l1/decide.ts";
import type { History, L1Decision, Reading } from "../autoscale/l1/model.ts";
import { type Candidate, chooseVictims, drainsToCancel } from "../autoscale/l1/victims.ts";
import { chooseLikeReplicaSet } from "./baselines.ts";
import { wakeLevelTwo } from "./level-two.ts";
import { type Signals, takeSignals } from "./load.ts";
import { cancelDrain, createProcess, drainProcess, placePending } from "./processes.ts";
import { lookUp, observeSeason, turnSeason } from "./season.ts";
import type { SimProcess, SimSubscription, Simulation } from "./world.ts";

export function tickLevelOne(sim: Simulation, subscription: SimSubscription): L1Decision {
  const now = sim.queue.now();
  const { policy } = subscription.spec;
  const signals = takeSignals(subscription);
  lookUpSeason(subscription, now);
  sampleProcesses(subscription, signals, now);
  const decision = decide({
    policy,
    history: historyOf(subscription, signals, now),
    state: subscription.state,
    now,
  });
  subscription.state = decision.state;
  observeSeason(subscription.season, decision.trace);
  sim.meter.count("decisions", 1, now);
  if (decision.act && decision.desired !== subscription.desired) {
    sim.meter.count("countChanges", 1, now);
    subscription.desired = decision.desired;
  }
  reconcile(sim, subscription);
  const { partition } = subscription;
  if (partition.pending.size > 0) wakeLevelTwo(sim, partition, now);
  return decision;
}

function historyOf(subscription: SimSubscription, signals: Signals, now: number): History {
  return {
    current: subscription.desired,
    ready: subscription.ready,
    live: subscription.active.length,
    processes: subscription.active,
    draining: subscription.draining.size,
    readings: readingsOf(subscription, signals, now),
    seasonal: subscription.usual.atStart.loads,
    startP90Ms: subscription.startP90Ms,
    warmUpMs: null,
    rollingOut: false,
  };
}

/** The ingress counts requests, also those for a sleeping subscription; whatever else a policy names is the queue. */
function readingsOf({ spec }: SimSubscription, signals: Signals, at: number): readonly Reading[] {
  return spec.policy.metrics.flatMap((metric): readonly Reading[] => {
    const key = metricKey(metric);
    switch (metric.kind) {
      case "requests":
        return [{ metric: key, value: signals.requests, at }];
      case "in-flight":
        return [{ metric: key, value: signals.inFlight, at }];
      case "custom":
      case "prometheus":
        return [{ metric: key, value: signals.backlog, at }];
      case "cpu":
      case "memory":
        return [];
      default:
        return metric satisfies never;
    }
  });
}

/** All processes of a subscription carry the same share, so they share one sample. */
function sampleProcesses({ spec, active }: SimSubscription, signals: Signals, now: number): void {
  if (!spec.policy.metrics.some(({ kind }) => kind === "cpu" || kind === "memory")) return;
  const values = { cpu: signals.cpuPercent, memory: signals.cpuPercent };
  const sample = { sequence: now, at: now, ready: true, values };
  for (const process of active) process.sample = process.ready ? sample : null;
}

/** Keeps what is usual when a process that is wished for now is ready, and when a node is. */
function lookUpSeason(subscription: SimSubscription, now: number): void {
  const { spec, partition, usual } = subscription;
  subscription.season = turnSeason(subscription.season, spec.policy, now);
  const { history } = subscription.season;
  const startMs = subscription.startP90Ms ?? spec.policy.forecast.horizon;
  const nodeMs = partition.bootP90Ms ?? partition.spec.policy.forecast.horizon;
  const { seasonal } = spec.policy;
  usual.atStart = lookUp(usual.atStart, { history, seasonal, at: now + startMs });
  usual.atHorizon = lookUp(usual.atHorizon, { history, seasonal, at: now + nodeMs + startMs });
}

/** Makes the processes what level 1 wished: takes drains back, starts, or drains. */
function reconcile(sim: Simulation, subscription: SimSubscription): void {
  const missing = subscription.desired - (subscription.active.length - subscription.moving);
  if (missing > 0) grow(sim, subscription, missing);
  if (missing < 0) shrink(sim, subscription, -missing);
}

function grow(sim: Simulation, subscription: SimSubscription, missing: number): void {
  const draining = [...subscription.draining].filter(
    ({ node, replacedBy }) => replacedBy === null && node?.status === "ready",
  );
  const back = new Set(
    drainsToCancel(
      draining.map(({ id, drainingSince }) => ({ id, inFlight: 0, since: drainingSince })),
      missing,
    ),
  );
  for (const process of draining) if (back.has(process.id)) cancelDrain(process);
  for (let count = back.size; count < missing; count += 1) createProcess(sim, subscription);
  placePending(sim, subscription.partition);
}

function shrink(sim: Simulation, subscription: SimSubscription, surplus: number): void {
  const counted = subscription.active.filter(({ replaces }) => replaces === null);
  const early = counted.filter(({ phase }) => phase !== "ready").slice(-surplus);
  for (const process of early) drainProcess(sim, process);
  const settled = counted.filter(
    ({ phase, replacedBy }) => phase === "ready" && replacedBy === null,
  );
  const candidates = settled.map(candidateOf);
  const onNode = Object.fromEntries(
    subscription.partition.nodes.map((node) => [node.id, node.processes.size]),
  );
  const choose = sim.scenario.victims === "strata" ? chooseVictims : chooseLikeReplicaSet;
  const victims = new Set(choose(candidates, surplus - early.length, onNode));
  for (const process of settled) if (victims.has(process.id)) drainProcess(sim, process);
}

function candidateOf({ id, node, createdAt }: SimProcess): Candidate {
  return { id, nodeId: node?.id ?? "", inFlight: 0, cpuPercent: 0, createdAt, protected: false };
}
