/** What level 2 is told, remembers and answers. All of it is JSON. Times are milliseconds since 1970 on the
 * controller's clock. */
import type { Capacity } from "@strata/protocol/agent/messages";
import type { PartitionPolicy } from "@strata/protocol/api/autoscale";

export type { Capacity, PartitionPolicy };

/** launching  the provider has been asked and has not answered
 * booting    there is a VM, its agent has not joined
 * ready      takes processes
 * cordoned   an operator wants no new ones on it
 * draining   gives its processes away, and goes
 * away       missed its beats
 * deleting   is being deleted */
export type NodeStatus =
  | "launching"
  | "booting"
  | "ready"
  | "cordoned"
  | "draining"
  | "away"
  | "deleting";

/** Which nodes may have processes of a group, beside what the partition's policy says. */
export type PlacementRule = {
  /** One of them [any]. */
  readonly architectures?: readonly string[];
  /** All of them [none]. */
  readonly labels?: Readonly<Record<string, string>>;
  /** One of them [any]. */
  readonly zones?: readonly string[];
  /** This node alone [any]. */
  readonly nodeId?: string;
  /** Of the subscription, on one node [no limit]. */
  readonly maxPerNode?: number;
  /** Wins over the policy's. */
  readonly apart?: PartitionPolicy["packing"]["apart"];
};

/** Which nodes have how many bytes of an image's layers, and the most that one of them has. */
export type LayerHolders = { readonly bytesOn: ReadonlyMap<string, number>; readonly most: number };

/** Processes, or room for such, that go together: same subscription, same size. */
export type Group = {
  readonly subscription: string;
  readonly size: Capacity;
  /** Ports of the node that each of them takes: `tcp/80` [none]. */
  readonly hostPorts?: readonly string[];
  readonly rule?: PlacementRule;
  /** Of nodes that are equal otherwise the one with most is taken [the first by id]. */
  readonly holders?: LayerHolders;
  readonly count: number;
};

/** What placement rules ask of a node. */
export type Traits = {
  /** Undefined while it is not known, and then any. */
  readonly architecture?: string | undefined;
  readonly labels?: Readonly<Record<string, string>>;
};

/** Processes of one subscription on one node. Those that are already being replaced elsewhere are not counted. */
export type Held = Group;

export type NodeView = Traits & {
  readonly id: string;
  readonly status: NodeStatus;
  /** Key of the offer that it was made from; null for a node that joined by itself and is never deleted. */
  readonly offer: string | null;
  readonly zone: string | null;
  /** What it offers to processes, processors multiplied by what may be promised of them. */
  readonly capacity: Capacity;
  /** No single process may have more of the processors: they are not promised twice to one [no limit]. */
  readonly cpuMillisEach?: number;
  readonly requestedAt: number;
  /** Since when it is away; null when it is not. */
  readonly awaySince: number | null;
  /** The scaler drains it, so the scaler may think better of it. */
  readonly drainedByScaler: boolean;
  readonly held: readonly Held[];
};

export type SubscriptionView = {
  readonly name: string;
  /** Of one process. */
  readonly size: Capacity;
  readonly hostPorts?: readonly string[];
  readonly rule?: PlacementRule;
  /** Wished for now. */
  readonly desired: number;
  /** Wished for at level 2's horizon, by level 1's forecast. */
  readonly atHorizon: number;
};

/** One line of the policy's `providers`, with what the provider says of its flavor. */
export type Offer = Traits & {
  readonly key: string;
  readonly provider: string;
  readonly zone: string | null;
  readonly capacity: Capacity;
  /** As of a node. */
  readonly cpuMillisEach?: number;
  /** Of one node for an hour. */
  readonly price: number;
  readonly maxNodes: number;
};

export type L2State = {
  readonly version: 1;
  /** A need that is being gathered. */
  readonly batch: {
    readonly since: number;
    readonly changedAt: number;
    readonly nodes: number;
  } | null;
  readonly lastAddAt: number | null;
  /** Place in the round of round-robin. */
  readonly turn: number;
  readonly backOff: Readonly<Record<string, { readonly failures: number; readonly until: number }>>;
  readonly emptySince: Readonly<Record<string, number>>;
  readonly underusedSince: Readonly<Record<string, number>>;
  /** Nodes that never joined and whose failure has been counted. */
  readonly givenUp: readonly string[];
  readonly removalsLookedAt: number | null;
};

export const INITIAL_L2_STATE: L2State = {
  version: 1,
  batch: null,
  lastAddAt: null,
  turn: 0,
  backOff: {},
  emptySince: {},
  underusedSince: {},
  givenUp: [],
  removalsLookedAt: null,
};

/** What the shell has to do. Nothing is left for it to choose. */
export type L2Action =
  | { readonly kind: "add"; readonly offer: string; readonly count: number }
  | { readonly kind: "cancel-drain"; readonly nodeId: string }
  | { readonly kind: "drain"; readonly nodeId: string }
  | {
      readonly kind: "delete";
      readonly nodeId: string;
      readonly why: "empty" | "drained" | "never-joined" | "lost";
    };

export type Demand = {
  readonly subscription: string;
  readonly size: Capacity;
  readonly hostPorts?: readonly string[];
  readonly rule?: PlacementRule;
  readonly desired: number;
  readonly atHorizon: number;
  /** On nodes that stay. */
  readonly placed: number;
  /** To be packed. */
  readonly needed: number;
};

export type L2Trace = {
  readonly at: number;
  readonly nodes: Readonly<Record<NodeStatus, number>>;
  readonly demand: readonly Demand[];
  readonly headroom: readonly Group[];
  /** What found no room on nodes that are ready or booting. */
  readonly remainder: readonly Group[];
  /** Of the remainder, what no offer can hold or limits forbid. */
  readonly unplaceable: readonly Group[];
  /** Subscriptions of the unplaceable whose placement no offer can ever meet. */
  readonly barred: readonly string[];
  readonly nodesToAdd: number;
  /** Providers that are left alone, until when. */
  readonly backingOff: Readonly<Record<string, number>>;
  /** Why nothing is removed, if there was something to remove. */
  readonly kept: string | null;
  readonly frozen: boolean;
};

export type L2Decision = {
  /** Nodes that there will be when all is done. */
  readonly desired: number;
  readonly actions: readonly L2Action[];
  /** One sentence for people. */
  readonly reason: string;
  readonly trace: L2Trace;
  readonly state: L2State;
  /** Decide again at this time at the latest, even if nothing happens; null for the usual tick. */
  readonly wakeAt: number | null;
};

export type L2Situation = {
  readonly policy: PartitionPolicy;
  readonly offers: readonly Offer[];
  readonly nodes: readonly NodeView[];
  readonly subscriptions: readonly SubscriptionView[];
  readonly state: L2State;
  readonly now: number;
};
