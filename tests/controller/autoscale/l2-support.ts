/** Builders for level 2. */
import { decidePartition } from "@strata/controller/domain/autoscale/l2/decide";
import {
  type Capacity,
  INITIAL_L2_STATE,
  type L2Action,
  type L2Decision,
  type L2Situation,
  type NodeView,
  type Offer,
  type PartitionPolicy,
  type SubscriptionView,
} from "@strata/controller/domain/autoscale/l2/model";
import { PartitionPolicyInput } from "@strata/protocol/api/autoscale";

export const NOW = Date.UTC(2026, 10, 23);
export const MINUTE = 60_000;

/** Four of these fill a node by memory. */
export const quarter: Capacity = { cpuMillis: 500, memoryBytes: 1024 ** 3, pids: 100 };
export const nodeCapacity: Capacity = { cpuMillis: 4000, memoryBytes: 4 * 1024 ** 3, pids: 4000 };

export function aPartitionPolicy(input: Record<string, unknown> = {}): PartitionPolicy {
  return PartitionPolicyInput.parse({ batch: { idle: 0 }, ...input });
}

export function anOffer(parts: Partial<Offer> = {}): Offer {
  return {
    key: "lxd/small",
    provider: "lxd",
    zone: null,
    capacity: nodeCapacity,
    price: 1,
    maxNodes: 1000,
    ...parts,
  };
}

/** A node that is ready, with `held` processes of `web`, each a quarter of it. */
export function aNode(id: string, held: number, parts: Partial<NodeView> = {}): NodeView {
  return {
    id,
    status: "ready",
    offer: "lxd/small",
    zone: null,
    capacity: nodeCapacity,
    requestedAt: NOW - 60 * MINUTE,
    awaySince: null,
    drainedByScaler: false,
    held: held === 0 ? [] : [{ subscription: "web", size: quarter, count: held }],
    ...parts,
  };
}

export function aSubscription(
  desired: number,
  parts: Partial<SubscriptionView> = {},
): SubscriptionView {
  return { name: "web", size: quarter, desired, atHorizon: desired, ...parts };
}

export function aSituation(parts: Partial<L2Situation> = {}): L2Situation {
  return {
    policy: aPartitionPolicy(),
    offers: [anOffer()],
    nodes: [],
    subscriptions: [],
    state: INITIAL_L2_STATE,
    now: NOW,
    ...parts,
  };
}

/** Decides at several times with the same world, and gives the last decision. */
export function decideAt(situation: L2Situation, times: readonly number[]): L2Decision {
  const [first = situation.now, ...others] = times;
  let decision = decidePartition({ ...situation, now: first });
  for (const now of others)
    decision = decidePartition({ ...situation, state: decision.state, now });
  return decision;
}

export function added(actions: readonly L2Action[]): Readonly<Record<string, number>> {
  return Object.fromEntries(
    actions.flatMap((action) => (action.kind === "add" ? [[action.offer, action.count]] : [])),
  );
}

export function idsOf(
  actions: readonly L2Action[],
  kind: "drain" | "delete" | "cancel-drain",
): readonly string[] {
  return actions.flatMap((action) => (action.kind === kind ? [action.nodeId] : []));
}
