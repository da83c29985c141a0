/** The state of a simulated installation. It belongs to one run and is changed in place: copying thousands of
 * processes for every event would be most of the work. Nodes and processes have the very fields that the scalers
 * look at, so they are handed over as they are. */
import type { L1State, Sample } from "../autoscale/l1/model.ts";
import type { Capacity, Held, L2State, NodeStatus, Offer } from "../autoscale/l2/model.ts";
import type { LoadAt } from "./curve.ts";
import type { EventQueue } from "./event-queue.ts";
import type { Meter } from "./meter.ts";
import type { Scenario, ScenarioPartition, ScenarioSubscription } from "./scenario.ts";
import type { Season, Usual } from "./season.ts";

export type SimProcess = {
  readonly id: string;
  readonly subscription: SimSubscription;
  readonly createdAt: number;
  phase: "pending" | "starting" | "ready" | "draining" | "gone";
  ready: boolean;
  firstReadyAt: number | null;
  sample: Sample | null;
  node: SimNode | null;
  placedAt: number;
  /** When a drain began; a drain that was taken back is told from a later one by it. */
  drainingSince: number;
  /** The process that may go once this one is ready. */
  replaces: SimProcess | null;
  /** The process that takes over. */
  replacedBy: SimProcess | null;
};

export type SimNode = {
  readonly id: string;
  readonly offer: string;
  readonly provider: string;
  readonly zone: string | null;
  readonly price: number;
  readonly capacity: Capacity;
  readonly requestedAt: number;
  status: NodeStatus;
  /** It serves nothing any more, whether that is known or not. */
  lost: boolean;
  awaySince: number | null;
  drainedByScaler: boolean;
  readonly processes: Set<SimProcess>;
  /** The same, counted; made again whenever `processes` changes. */
  held: readonly Held[];
};

export type SimSubscription = {
  readonly spec: ScenarioSubscription;
  readonly partition: SimPartition;
  readonly size: Capacity;
  readonly loadAt: LoadAt;
  /** In every phase but draining and gone. */
  active: SimProcess[];
  readonly draining: Set<SimProcess>;
  ready: number;
  /** Active ones that only take over from others. */
  moving: number;
  /** What level 1 last decided. */
  desired: number;
  state: L1State;
  /** Work that waits for a process. */
  backlog: number;
  /** What arrived since level 1 last looked. */
  arrived: { amount: number; seconds: number };
  season: Season;
  /** What is usual when a process that is wished for now is ready, and when a node is. */
  readonly usual: { atStart: Usual; atHorizon: Usual };
  readonly starts: number[];
  startP90Ms: number | null;
};

export type SimPartition = {
  readonly spec: ScenarioPartition;
  readonly offers: readonly Offer[];
  nodes: SimNode[];
  readonly subscriptions: SimSubscription[];
  readonly pending: Set<SimProcess>;
  /** Level 2 has been asked for before its next turn. */
  woken: boolean;
  state: L2State;
  readonly boots: number[];
  bootP90Ms: number | null;
};

export type Simulation = {
  readonly scenario: Scenario;
  readonly startedAt: number;
  readonly queue: EventQueue;
  readonly random: () => number;
  readonly meter: Meter;
  readonly partitions: readonly SimPartition[];
  readonly subscriptions: readonly SimSubscription[];
  /** Makes ids. */
  readonly nextId: (prefix: string) => string;
};

export function recount(node: SimNode): void {
  const counts = new Map<SimSubscription, number>();
  for (const { subscription } of node.processes) {
    counts.set(subscription, (counts.get(subscription) ?? 0) + 1);
  }
  node.held = [...counts].map(([{ spec, size }, count]) => ({
    subscription: spec.name,
    size,
    count,
  }));
}
