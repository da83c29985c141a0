/** Tells nodes which images they will probably run soon. */
import { isTerminal } from "@strata/protocol/agent/process-state";

import { boundsAt } from "../domain/autoscale/l1/bounds.ts";
import { isSame } from "../domain/canonical.ts";
import type { PeerBook } from "../domain/peer-book.ts";
import { planPrefetch, type PrefetchImage, type PrefetchSubject } from "../domain/prefetch.ts";
import { maySleep } from "../domain/scaling.ts";
import type { SchedulingOptions } from "../domain/schedule.ts";
import type { Sql } from "../store/database.ts";
import { listScalingPolicies, parseScalingPolicy } from "../store/scaling-policies.ts";
import { listNewestGenerations, type SubscriptionRow } from "../store/subscriptions.ts";
import { createHoldersOf } from "./layer-holders.ts";
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

export type PrefetchOptions = Pick<SchedulingOptions, "cpuOvercommit"> & {
  /** What nodes say that they have of images. */
  readonly peers: Pick<PeerBook, "holdersOf">;
};

/** Which images the nodes of this moment will probably run soon. It remembers from one time to the next who ran what, for
 * who ran it has it. */
export function createFindPrefetch(
  sql: Sql,
  { cpuOvercommit, peers }: PrefetchOptions,
): (now: SnapshotOptions) => ReadonlyMap<string, readonly PrefetchImage[]> {
  let runners: ReadonlyMap<string, ReadonlySet<string>> = new Map();
  return (now) => {
    const snapshot = readSnapshot(sql, now);
    const subjects = readSubjects(sql, snapshot);
    runners = noteRunners(subjects, runners);
    const holdersOf = createHoldersOf(snapshot, peers);
    return planPrefetch(subjects, toCandidates(snapshot), {
      cpuOvercommit,
      packingOf: snapshot.packingOf,
      holdersOf,
      ownersOf: (partition, digest) => {
        const { bytesOn, most } = holdersOf(partition, digest);
        const holders = bytesOn.keys().filter((nodeId) => bytesOn.get(nodeId) === most);
        return [...new Set([...(runners.get(ownKey(partition, digest)) ?? []), ...holders])];
      },
    });
  };
}

const ownKey = (partition: string, digest: string): string => `${partition} ${digest}`;

/** Of images whose subscriptions sleep, those that ran them before as well. */
function noteRunners(
  subjects: readonly PrefetchSubject[],
  before: ReadonlyMap<string, ReadonlySet<string>>,
): ReadonlyMap<string, ReadonlySet<string>> {
  const runners = new Map<string, ReadonlySet<string>>();
  for (const { partition, image, currentOn, isAsleep } of subjects) {
    const key = ownKey(partition, image.digest);
    const known = runners.get(key) ?? new Set();
    const earlier = isAsleep ? (before.get(key) ?? []) : [];
    runners.set(key, new Set([...known, ...currentOn, ...earlier]));
  }
  return runners;
}

function readSubjects(sql: Sql, snapshot: Snapshot): readonly PrefetchSubject[] {
  const newest = new Map(listNewestGenerations(sql).map((row) => [row.subscriptionId, row]));
  const policyOf = readPolicies(sql, snapshot.nowMs);
  return snapshot.subscriptions.flatMap((subscription) => {
    const { id: subscriptionId, partition, deletedAt } = subscription;
    const generation = newest.get(subscriptionId);
    if (generation === undefined || deletedAt !== null) return [];
    if (snapshot.refusalOf(generation) !== undefined) return [];
    const count = snapshot.count(subscription);
    const { max = count, maySleep = false } = policyOf(subscription) ?? {};
    return [
      {
        subscription: nameOf(subscription),
        partition,
        image: generation.spec.image,
        need: snapshot.needs.of(generation),
        growth: Math.max(0, max - count),
        isAsleep: count === 0 && maySleep,
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

type Policy = { readonly max: number; readonly maySleep: boolean };

/** How many processes the subscription's policy allows now, and whether it may have none; undefined without one. */
function readPolicies(
  sql: Sql,
  nowMs: number,
): (subscription: SubscriptionRow) => Policy | undefined {
  const policies = new Map(
    listScalingPolicies(sql, { after: "", limit: POLICIES_MAX }).map((row) => {
      const policy = parseScalingPolicy(row);
      const { max } = boundsAt(policy, [], nowMs);
      return [row.name, { max, maySleep: maySleep(policy) }];
    }),
  );
  return ({ scalingPolicy }) => policies.get(scalingPolicy ?? "");
}
