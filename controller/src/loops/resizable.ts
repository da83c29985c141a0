/** The processes of older generations that can go on with the limits of the newest one. */
import { isTerminal } from "@strata/protocol/agent/process-state";

import { createBin } from "../domain/autoscale/l2/bins.ts";
import { differInLimitsAlone, planResizes, type ResizeWish, type Room } from "../domain/resize.ts";
import { promisedCapacity } from "../domain/schedule.ts";
import type { Sql } from "../store/database.ts";
import type { GenerationRow, ProcessRow } from "../store/processes.ts";
import { listGenerationsFrom, type SubscriptionRow } from "../store/subscriptions.ts";
import { heldByNode, type Snapshot, toPlanned } from "./snapshot.ts";

const none: ReadonlySet<string> = new Set();

/** Ids of processes. Costs nothing when every process is of its subscription's generation. */
export function readResizable(
  sql: Sql,
  snapshot: Snapshot,
  cpuOvercommit: number,
): ReadonlySet<string> {
  const wishes = snapshot.subscriptions.flatMap((subscription) =>
    readWishes(sql, snapshot, subscription),
  );
  return wishes.length === 0 ? none : planResizes(wishes, readRooms(snapshot, cpuOvercommit));
}

function readWishes(
  sql: Sql,
  snapshot: Snapshot,
  subscription: SubscriptionRow,
): readonly ResizeWish[] {
  const rows = (snapshot.processes.get(subscription.id) ?? []).filter((row) =>
    mayStay(snapshot, subscription, row),
  );
  if (rows.length === 0 || subscription.deletedAt !== null) return [];
  const oldest = Math.min(...rows.map(({ generation }) => generation));
  const generations = listGenerationsFrom(sql, subscription.id, oldest);
  const granted = new Map<number, Omit<ResizeWish, "processId" | "nodeId"> | undefined>();
  return rows.flatMap(({ id: processId, nodeId, generation }): readonly ResizeWish[] => {
    if (!granted.has(generation))
      granted.set(generation, compare(generations, generation, subscription.generation));
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
  from: number,
  to: number,
): { readonly from: ResizeWish["from"]; readonly to: ResizeWish["to"] } | undefined {
  const specs = generations
    .filter(({ generation }) => generation >= from && generation <= to)
    .map(({ spec }) => spec);
  const [first, last] = [specs[0], specs.at(-1)];
  if (specs.length !== to - from + 1 || first === undefined || last === undefined) return undefined;
  return differInLimitsAlone(specs) ? { from: first.limits, to: last.limits } : undefined;
}

function readRooms(snapshot: Snapshot, cpuOvercommit: number): ReadonlyMap<string, Room> {
  const held = heldByNode(snapshot);
  return new Map(
    [...snapshot.nodes.values()].map((node) => {
      const { capacity, cpuMillisEach } = promisedCapacity(node.capacity, cpuOvercommit);
      const bin = { id: node.id, zone: null, capacity, cpuMillisEach, ready: true };
      const { free } = createBin({ ...bin, held: held.get(node.id) ?? [] });
      return [node.id, { free, cpuMillisEach }];
    }),
  );
}
