/** The processes of older generations that can go on with the limits of the newest one. */
import { isTerminal } from "@strata/protocol/agent/process-state";

import { createBin } from "../domain/autoscale/l2/bins.ts";
import { differInLimitsAlone, planResizes, type ResizeWish, type Room } from "../domain/resize.ts";
import { promisedCapacity } from "../domain/schedule.ts";
import type { Sql } from "../store/database.ts";
import { type GenerationRow, generationsOf, type ProcessRow } from "../store/processes.ts";
import { listGenerationsFrom, type SubscriptionRow } from "../store/subscriptions.ts";
import { loadOfNode } from "./node-load.ts";
import type { OpenRollout } from "./rollouts.ts";
import { type Snapshot, toPlanned } from "./snapshot.ts";

const none: ReadonlySet<string> = new Set();

export type ResizableOptions = {
  readonly cpuOvercommit: number;
  readonly rollouts: ReadonlyMap<string, OpenRollout>;
};

/** Ids of processes. Costs nothing when every process is of its subscription's generation. */
export function readResizable(
  sql: Sql,
  snapshot: Snapshot,
  { cpuOvercommit, rollouts }: ResizableOptions,
): ReadonlySet<string> {
  const wishes = snapshot.subscriptions.flatMap((subscription) =>
    readWishes(sql, snapshot, { subscription, open: rollouts.get(subscription.id) }),
  );
  return wishes.length === 0 ? none : planResizes(wishes, readRooms(snapshot, cpuOvercommit));
}

function readWishes(
  sql: Sql,
  snapshot: Snapshot,
  {
    subscription,
    open,
  }: { readonly subscription: SubscriptionRow; readonly open: OpenRollout | undefined },
): readonly ResizeWish[] {
  const all = snapshot.processes.get(subscription.id) ?? [];
  if (generationsOf(all).every((generation) => generation >= subscription.generation)) return [];
  const rows = all.filter((row) => mayStay(snapshot, subscription, row));
  if (rows.length === 0 || subscription.deletedAt !== null) return [];
  const oldest = Math.min(...rows.map(({ generation }) => generation));
  const generations = listGenerationsFrom(sql, subscription.id, oldest);
  const granted = new Map<number, Omit<ResizeWish, "processId" | "nodeId"> | undefined>();
  return rows.flatMap(({ id: processId, nodeId, generation }): readonly ResizeWish[] => {
    if (!granted.has(generation))
      granted.set(generation, compare(generations, subscription.generation, { generation, open }));
    const change = granted.get(generation);
    return nodeId === null || change === undefined ? [] : [{ processId, nodeId, ...change }];
  });
}

/** It is of an older generation, and where it is it may be. */
function mayStay(snapshot: Snapshot, subscription: SubscriptionRow, row: ProcessRow): boolean {
  const { nodeId, desired, drainDeadline, state, generation } = row;
  if (generation >= subscription.generation || nodeId === null) return false;
  if (desired !== "running" || drainDeadline !== null || isTerminal(state)) return false;
  if (snapshot.nodes.get(nodeId)?.partition !== subscription.partition) return false;
  const { whereabouts } = toPlanned(snapshot, { subscription, row });
  return whereabouts === "here" || whereabouts === "away";
}

/** Undefined when more than limits changed, or when it is no longer known what did. */
function compare(
  generations: readonly GenerationRow[],
  to: number,
  {
    generation: from,
    open,
  }: { readonly generation: number; readonly open: OpenRollout | undefined },
): { readonly from: ResizeWish["from"]; readonly to: ResizeWish["to"] } | undefined {
  if (open?.row.rollbackTo === from) {
    // What a roll-back goes back to still runs here and there, and is what is wanted.
    const limits = generations.find(({ generation }) => generation === from)?.spec.limits;
    return limits === undefined ? undefined : { from: limits, to: limits };
  }
  const specs = generations
    .filter(({ generation }) => generation >= from && generation <= to)
    .map(({ spec }) => spec);
  const [first, last] = [specs[0], specs.at(-1)];
  if (specs.length !== to - from + 1 || first === undefined || last === undefined) return undefined;
  return differInLimitsAlone(specs) ? { from: first.limits, to: last.limits } : undefined;
}

function readRooms(snapshot: Snapshot, cpuOvercommit: number): ReadonlyMap<string, Room> {
  return new Map(
    [...snapshot.nodes.values()].map((node) => {
      const { capacity, cpuMillisEach } = promisedCapacity(node.capacity, cpuOvercommit);
      const bin = { id: node.id, zone: null, capacity, cpuMillisEach, ready: true };
      const { free } = createBin({ ...bin, held: loadOfNode(snapshot, node.id).held });
      return [node.id, { free, cpuMillisEach }];
    }),
  );
}
