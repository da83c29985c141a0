/** What each node has on it; worked out again for those alone whose processes have changed. */
import { isTerminal } from "@strata/protocol/agent/process-state";

import type { Held } from "../domain/autoscale/l2/model.ts";
import { type Candidate, type Need, sizeOf } from "../domain/schedule.ts";
import type { ProcessRow } from "../store/processes.ts";
import type { SubscriptionRow } from "../store/subscriptions.ts";
import { closedReason, nameOf, type Snapshot } from "./snapshot.ts";

export type NodeLoad = {
  /** Processes that have not ended. */
  readonly living: number;
  /** Until when each of those that are about to run counts as starting, in milliseconds since 1970. */
  readonly startingUntil: readonly number[];
  /** Digests of what was pulled and runs. */
  readonly images: ReadonlySet<string>;
  /** What takes room: all that has not ended. */
  readonly held: readonly Held[];
};

type Seen = Pick<Snapshot, "onNode" | "needs" | "needOf" | "subscriptionOf">;

const known = new WeakMap<
  readonly ProcessRow[],
  { readonly needs: Snapshot["needs"]; readonly load: NodeLoad }
>();

export function loadOfNode(snapshot: Seen, nodeId: string): NodeLoad {
  const rows = snapshot.onNode(nodeId);
  const before = known.get(rows);
  if (before?.needs === snapshot.needs) return before.load;
  const load = {
    living: rows.filter(({ state }) => !isTerminal(state)).length,
    startingUntil: rows.flatMap(startingUntil),
    images: new Set(rows.flatMap((row) => imageThere(snapshot, row) ?? [])),
    held: groupHeld(snapshot, rows),
  };
  known.set(rows, { needs: snapshot.needs, load });
  return load;
}

/** A start that takes longer than this is no part of a storm, and keeps nobody waiting: a large image, or a crash. */
const STARTING_MS_MAX = 120_000;

function startingUntil(row: ProcessRow): readonly number[] {
  const { desired, state, stateAt, startDeadline } = row;
  if (desired !== "running") return [];
  if (state === "pending") return startDeadline === null ? [] : [Date.parse(startDeadline)];
  const isStarting = state === "pulling" || state === "starting";
  return isStarting ? [Date.parse(stateAt) + STARTING_MS_MAX] : [];
}

/** A process that was pulled has its layers there, whether or not their blobs were kept. */
function imageThere({ needOf }: Seen, row: ProcessRow): string | undefined {
  if (row.state === "pending" || row.state === "pulling" || isTerminal(row.state)) return undefined;
  return needOf(row)?.image;
}

function groupHeld(
  { needOf, subscriptionOf }: Seen,
  rows: readonly ProcessRow[],
  counts: (subscription: SubscriptionRow, row: ProcessRow) => boolean = () => true,
): readonly Held[] {
  const groups = new Map<Need, { subscription: string; count: number }>();
  for (const row of rows) {
    if (isTerminal(row.state)) continue;
    const need = needOf(row);
    const subscription = subscriptionOf(row.subscriptionId);
    if (need === undefined || subscription === undefined || !counts(subscription, row)) continue;
    const group = groups.get(need) ?? { subscription: nameOf(subscription), count: 0 };
    groups.set(need, group);
    group.count += 1;
  }
  return [...groups].map(([{ limits, hostPorts, rule }, { subscription, count }]) => ({
    subscription,
    size: sizeOf(limits),
    hostPorts,
    ...(rule === undefined ? {} : { rule }),
    count,
  }));
}

/** What takes room on each node, of the processes that count. */
export function heldByNode(
  snapshot: Seen & Pick<Snapshot, "nodes">,
  counts: (subscription: SubscriptionRow, row: ProcessRow) => boolean,
): ReadonlyMap<string, readonly Held[]> {
  return new Map(
    [...snapshot.nodes.keys()].map((id) => [id, groupHeld(snapshot, snapshot.onNode(id), counts)]),
  );
}

/** How many processes have not ended, on each node that has some. */
export function countOnNodes(
  snapshot: Seen & Pick<Snapshot, "nodes">,
): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const id of snapshot.nodes.keys()) {
    const { living } = loadOfNode(snapshot, id);
    if (living > 0) counts[id] = living;
  }
  return counts;
}

/** Nodes as the scheduler sees them, with what they hold now. */
export function toCandidates(snapshot: Snapshot): readonly Candidate[] {
  const { nowMs } = snapshot;
  return [...snapshot.nodes.values()].map((node) => {
    const { held, startingUntil: until } = loadOfNode(snapshot, node.id);
    return {
      id: node.id,
      name: node.name,
      partition: node.partition,
      zone: snapshot.zoneOf(node),
      architecture: node.architecture,
      labels: node.labels,
      closed: closedReason(node),
      starting: until.filter((untilMs) => untilMs > nowMs).length,
      capacity: node.capacity,
      held,
    };
  });
}
