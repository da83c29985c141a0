/** Tells nodes which images they will probably run soon. */
import { isTerminal } from "@strata/protocol/agent/process-state";

import { boundsAt } from "../domain/autoscale/l1/bounds.ts";
import { isSame } from "../domain/canonical.ts";
import { planPrefetch, type PrefetchImage, type PrefetchSubject } from "../domain/prefetch.ts";
import type { SchedulingOptions } from "../domain/schedule.ts";
import type { Sql } from "../store/database.ts";
import { listScalingPolicies, parseScalingPolicy } from "../store/scaling-policies.ts";
import { listNewestGenerations, type SubscriptionRow } from "../store/subscriptions.ts";
import { toCandidates } from "./node-load.ts";
import { nameOf, readSnapshot, type Snapshot, type SnapshotOptions } from "./snapshot.ts";

/** What each node was told, in memory alone: it is planned anew after a restart. */
export type PrefetchBook = {
  /** The likeliest first. */
  readonly imagesFor: (nodeId: string) => readonly PrefetchImage[];
  /** Calls `onChange` for the nodes that are told something else now. */
  readonly replace: (plan: ReadonlyMap<string, readonly PrefetchImage[]>) => void;
};

const POLICIES_MAX = 1_000_000;

export function createPrefetchBook(onChange: (nodeId: string) => void): PrefetchBook {
  let images: ReadonlyMap<string, readonly PrefetchImage[]> = new Map();
  return {
    imagesFor: (nodeId) => images.get(nodeId) ?? [],
    replace: (plan) => {
      const before = images;
      images = plan;
      for (const nodeId of new Set([...before.keys(), ...plan.keys()])) {
        if (!isSame(before.get(nodeId) ?? [], plan.get(nodeId) ?? [])) onChange(nodeId);
      }
    },
  };
}

/** Which images the nodes of this moment will probably run soon. */
export function findPrefetch(
  sql: Sql,
  now: SnapshotOptions,
  scheduling: Omit<SchedulingOptions, "packingOf">,
): ReadonlyMap<string, readonly PrefetchImage[]> {
  const snapshot = readSnapshot(sql, now);
  return planPrefetch(readSubjects(sql, snapshot), toCandidates(snapshot), {
    ...scheduling,
    packingOf: snapshot.packingOf,
  });
}

function readSubjects(sql: Sql, snapshot: Snapshot): readonly PrefetchSubject[] {
  const newest = new Map(listNewestGenerations(sql).map((row) => [row.subscriptionId, row]));
  const maxOf = readMaxima(sql, snapshot.nowMs);
  return snapshot.subscriptions.flatMap((subscription) => {
    const { id: subscriptionId, partition, deletedAt } = subscription;
    const generation = newest.get(subscriptionId);
    if (generation === undefined || deletedAt !== null) return [];
    if (snapshot.refusalOf(generation) !== undefined) return [];
    const count = snapshot.count(subscription);
    return [
      {
        subscription: nameOf(subscription),
        partition,
        image: generation.spec.image,
        need: snapshot.needs.of(generation),
        growth: Math.max(0, (maxOf(subscription) ?? count) - count),
        ...whereabouts(snapshot, subscription),
      },
    ];
  });
}

function whereabouts(
  snapshot: Snapshot,
  { id, generation }: SubscriptionRow,
): Pick<PrefetchSubject, "currentOn" | "outdatedOn"> {
  const rows = (snapshot.processes.get(id) ?? []).filter(({ state }) => !isTerminal(state));
  const nodesWhere = (isCurrent: boolean): ReadonlySet<string> =>
    new Set(
      rows.flatMap((row) =>
        row.nodeId !== null && (row.generation === generation) === isCurrent ? [row.nodeId] : [],
      ),
    );
  return { currentOn: nodesWhere(true), outdatedOn: nodesWhere(false) };
}

/** How many processes the subscription's policy allows now; undefined without one. */
function readMaxima(
  sql: Sql,
  nowMs: number,
): (subscription: SubscriptionRow) => number | undefined {
  const maxima = new Map(
    listScalingPolicies(sql, { after: "", limit: POLICIES_MAX }).map((row) => [
      row.name,
      boundsAt(parseScalingPolicy(row), [], nowMs).max,
    ]),
  );
  return ({ scalingPolicy }) => maxima.get(scalingPolicy ?? "");
}
