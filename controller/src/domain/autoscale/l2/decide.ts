/** Level 2: how many nodes a partition has. */
import { type Additions, planAdditions } from "./additions.ts";
import { type Bin, createBin, packingOf, permits } from "./bins.ts";
import { isFrozen, lostNodes } from "./breakers.ts";
import { demandOf, headroomOf, neededGroups } from "./demand.ts";
import type {
  Demand,
  Group,
  L2Action,
  L2Decision,
  L2Situation,
  L2State,
  L2Trace,
  NodeStatus,
  NodeView,
} from "./model.ts";
import { giveUpOverdue } from "./overdue.ts";
import { pack } from "./pack.ts";
import { reasonOf } from "./reason.ts";
import {
  drainedNodes,
  planRemovals,
  REMOVAL_INTERVAL_MS,
  type Removals,
  trackUse,
} from "./removals.ts";

/** Decides once. Pure: the same situation always gives the same decision. Store `state` in the same transaction as
 * what the actions write. Decide again at `wakeAt`, or when anything changes. */
export function decidePartition(situation: L2Situation): L2Decision {
  if (isFrozen(situation.nodes, situation.policy.breakers)) return freeze(situation);
  const overdue = giveUpOverdue(situation);
  const tracked: L2Situation = {
    ...situation,
    state: { ...overdue.state, ...trackUse(situation) },
    nodes: situation.nodes.map((node) =>
      overdue.nodeIds.includes(node.id) ? { ...node, status: "deleting" } : node,
    ),
  };
  const fit = fitDemand(tracked);
  const additions = planAdditions(tracked, fit.remainder, {
    bins: fit.bins,
    present: presentNodes(fit.nodes),
  });
  const batch = gather(tracked, additions.count);
  const adds = batch.due ? additions.actions : [];
  const barred = barredBy(tracked, additions.unplaceable);
  const removals = removalsOf(tracked, { fit, additions, barred });
  const lost = lostNodes(tracked.nodes, tracked.policy.breakers, tracked.now);
  const actions: readonly L2Action[] = [
    ...fit.reused.map((nodeId) => ({ kind: "cancel-drain", nodeId }) as const),
    ...adds,
    ...overdue.nodeIds.map((nodeId) => ({ kind: "delete", nodeId, why: "never-joined" }) as const),
    ...lost.map((nodeId) => ({ kind: "delete", nodeId, why: "lost" }) as const),
    ...drainedNodes(fit.nodes).map(
      (nodeId) => ({ kind: "delete", nodeId, why: "drained" }) as const,
    ),
    ...removals.actions,
  ];
  // What is overdue or draining does not count as present any more.
  const added = batch.due ? additions.count : 0;
  const desired = presentNodes(fit.nodes) + added - lost.length - removals.actions.length;
  return conclude(tracked, { fit, additions, barred, batch, removals, actions, added, desired });
}

type Fit = {
  /** With the drains taken back. */
  readonly nodes: readonly NodeView[];
  readonly demand: readonly Demand[];
  readonly headroom: readonly Group[];
  readonly bins: readonly Bin[];
  readonly remainder: readonly Group[];
  /** Draining nodes to use again. */
  readonly reused: readonly string[];
};

/** Packs the demand, and uses draining nodes again, the fullest first, for as long as something is left. */
function fitDemand(situation: L2Situation): Fit {
  let nodes = situation.nodes;
  const reused: string[] = [];
  for (;;) {
    const demand = demandOf({ ...situation, nodes });
    const headroom = headroomOf(demand, situation);
    const groups = neededGroups(demand);
    const bins = groups.length + headroom.length === 0 ? [] : binsOf(nodes);
    const packing = packingOf(situation);
    const left = pack(groups, bins, packing).left;
    const remainder = [...left, ...pack(headroom, bins, packing).left];
    const draining = remainder.length === 0 ? undefined : fullestDraining(nodes);
    if (draining === undefined) return { nodes, demand, headroom, bins, remainder, reused };
    reused.push(draining.id);
    nodes = nodes.map((node) =>
      node.id === draining.id ? { ...node, status: "ready", drainedByScaler: false } : node,
    );
  }
}

function binsOf(nodes: readonly NodeView[]): readonly Bin[] {
  return nodes
    .filter(({ status }) => status === "ready" || status === "booting" || status === "launching")
    .map((node) => createBin({ ...node, ready: node.status === "ready" }));
}

function fullestDraining(nodes: readonly NodeView[]): NodeView | undefined {
  const count = ({ held }: NodeView): number => held.reduce((total, one) => total + one.count, 0);
  return nodes
    .filter(({ status, drainedByScaler }) => status === "draining" && drainedByScaler)
    .toSorted((a, b) => count(b) - count(a) || (a.id < b.id ? -1 : 1))[0];
}

function presentNodes(nodes: readonly NodeView[]): number {
  return nodes.filter(({ status }) => status !== "draining" && status !== "deleting").length;
}

type Batch = {
  readonly state: L2State["batch"];
  readonly due: boolean;
  readonly wakeAt: number | null;
};

/** Rule 13: a need is acted on when it has not changed for a moment, or has waited long enough. */
function gather({ policy, state, now }: L2Situation, nodes: number): Batch {
  if (nodes === 0) return { state: null, due: false, wakeAt: null };
  const before = state.batch ?? { since: now, changedAt: now, nodes };
  const batch = before.nodes === nodes ? before : { since: before.since, changedAt: now, nodes };
  const dueAt = Math.min(batch.changedAt + policy.batch.idle, batch.since + policy.batch.max);
  return now >= dueAt
    ? { state: null, due: true, wakeAt: null }
    : { state: batch, due: false, wakeAt: dueAt };
}

type Outcome = {
  readonly fit: Fit;
  readonly additions: Additions;
  readonly barred: L2Trace["barred"];
  readonly batch: Batch;
  readonly removals: Removals & { readonly looked: boolean };
  readonly actions: readonly L2Action[];
  readonly added: number;
  readonly desired: number;
};

/** Nothing goes while something is missing, but for what no node of an offer could ever take. */
function removalsOf(
  situation: L2Situation,
  { fit, additions, barred }: Pick<Outcome, "fit" | "additions" | "barred">,
): Outcome["removals"] {
  const { state, now } = situation;
  const isBarred = ({ subscription }: Group): boolean => barred.includes(subscription);
  const busy = !fit.remainder.every(isBarred) || additions.count > 0 || fit.reused.length > 0;
  const early =
    state.removalsLookedAt !== null && now - state.removalsLookedAt < REMOVAL_INTERVAL_MS;
  if (busy || early) return { actions: [], kept: null, looked: false };
  const needed = neededGroups(fit.demand).filter((group) => !isBarred(group));
  const reserved = [...needed, ...fit.headroom];
  return { ...planRemovals(situation, reserved), looked: true };
}

function conclude(situation: L2Situation, outcome: Outcome): L2Decision {
  const { nodes, state, now } = situation;
  const { fit, additions, barred, batch, removals, actions, added, desired } = outcome;
  const trace: L2Trace = {
    at: now,
    nodes: countByStatus(nodes),
    demand: fit.demand,
    headroom: fit.headroom,
    remainder: fit.remainder,
    unplaceable: additions.unplaceable,
    barred,
    nodesToAdd: additions.count,
    backingOff: backingOff(state, now),
    kept: removals.kept,
    frozen: false,
  };
  return {
    desired,
    actions,
    reason: reasonOf(trace, actions, desired),
    trace,
    wakeAt: batch.wakeAt,
    state: {
      ...state,
      batch: batch.state,
      lastAddAt: added > 0 ? now : state.lastAddAt,
      turn: state.turn + added,
      removalsLookedAt: removals.looked ? now : state.removalsLookedAt,
    },
  };
}

/** Subscriptions whose placement no offer meets. */
function barredBy({ offers }: L2Situation, groups: readonly Group[]): readonly string[] {
  return groups
    .filter(({ rule }) => offers.length > 0 && !offers.some((offer) => permits(offer, rule)))
    .map(({ subscription }) => subscription);
}

function freeze({ nodes, subscriptions, state, now }: L2Situation): L2Decision {
  const desired = presentNodes(nodes);
  const trace: L2Trace = {
    at: now,
    nodes: countByStatus(nodes),
    demand: demandOf({ nodes, subscriptions }),
    headroom: [],
    remainder: [],
    unplaceable: [],
    barred: [],
    nodesToAdd: 0,
    backingOff: backingOff(state, now),
    kept: null,
    frozen: true,
  };
  return { desired, actions: [], reason: reasonOf(trace, [], desired), trace, state, wakeAt: null };
}

function countByStatus(nodes: readonly NodeView[]): L2Trace["nodes"] {
  const counts: Record<NodeStatus, number> = {
    launching: 0,
    booting: 0,
    ready: 0,
    cordoned: 0,
    draining: 0,
    away: 0,
    deleting: 0,
  };
  for (const { status } of nodes) counts[status] += 1;
  return counts;
}

function backingOff({ backOff }: L2State, now: number): L2Trace["backingOff"] {
  return Object.fromEntries(
    Object.entries(backOff).flatMap(([provider, { until }]) =>
      until > now ? [[provider, until]] : [],
    ),
  );
}
