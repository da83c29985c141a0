/** What the reconcile loop looks at: everything, read in one go, in the words of the domain. */
import { isTerminal } from "@strata/protocol/agent/process-state";
import { PartitionPolicyInput } from "@strata/protocol/api/autoscale";
import type { TenantQuota } from "@strata/protocol/api/tenants";

import type { Packing } from "../domain/autoscale/l2/bins.ts";
import type { Held } from "../domain/autoscale/l2/model.ts";
import type { UsageBook } from "../domain/autoscale/usage-book.ts";
import { atOnce, drainTerms, type DrainTerms, isDrained } from "../domain/drain.ts";
import { isMassLoss, lossPatienceMs } from "../domain/node.ts";
import type { Drain, PlannedProcess, Whereabouts } from "../domain/planned-process.ts";
import type { Problem } from "../domain/process.ts";
import { wishedProcesses } from "../domain/scaling.ts";
import { type Candidate, type Need, sizeOf } from "../domain/schedule.ts";
import type { Sql } from "../store/database.ts";
import { listNodes, type NodeRow } from "../store/nodes.ts";
import {
  listAllPartitionPolicies,
  listAllPartitions,
  parsePartitionPolicy,
} from "../store/partitions.ts";
import {
  generationKey,
  listGenerationsInUse,
  listProcessesBySubscription,
  type ProcessRow,
} from "../store/processes.ts";
import { listScalingPolicies, parseScalingPolicy } from "../store/scaling-policies.ts";
import { listSubscriptions, type SubscriptionRow } from "../store/subscriptions.ts";
import { listVms } from "../store/vms.ts";
import { type Needs, readNeeds } from "./needs.ts";
import { readQuotas } from "./quota-refusals.ts";
import { readDependencyRefusals } from "./relations.ts";
import { readRefusals } from "./signatures.ts";
import { isBound, readVolumes, type VolumeBook } from "./volumes.ts";

export type Snapshot = {
  readonly subscriptions: readonly SubscriptionRow[];
  readonly processes: ReadonlyMap<string, readonly ProcessRow[]>;
  readonly nodes: ReadonlyMap<string, NodeRow>;
  readonly silentMs: (nodeId: string) => number;
  /** Whether the mass-loss breaker holds replacements back. */
  readonly held: boolean;
  readonly beatIntervalMs: number;
  readonly nowMs: number;
  readonly count: (subscription: SubscriptionRow) => number;
  /** How long a process of the subscription that goes may finish what it has in flight. */
  readonly drainTerms: (subscription: SubscriptionRow) => DrainTerms;
  readonly isReleased: (processId: string) => boolean;
  readonly processesOnNode: Readonly<Record<string, number>>;
  readonly usage: Pick<UsageBook, "sampleOf">;
  readonly moving: ReadonlySet<string>;
  /** Of any generation; `needOf` knows those that have processes. */
  readonly needs: Needs;
  readonly needOf: (process: Pick<ProcessRow, "subscriptionId" | "generation">) => Need | undefined;
  /** Why a process must not be placed, wherever there is room. */
  readonly refusalOf: (
    process: Pick<ProcessRow, "subscriptionId" | "generation">,
  ) => Problem | undefined;
  /** Of the tenants that have one. */
  readonly quotaOf: (tenant: string) => TenantQuota | undefined;
  readonly volumes: VolumeBook;
  /** How the partition's policy has its processes packed. */
  readonly packingOf: (partition: string) => Packing;
  /** Of its VM, or the label `zone`. */
  readonly zoneOf: (node: NodeRow) => string | null;
};

export type SnapshotOptions = {
  readonly nowMs: number;
  readonly silentMs: (nodeId: string) => number;
  readonly beatIntervalMs: number;
  /** Processes that move to another node for a better spread. */
  readonly moving: ReadonlySet<string>;
  /** What processes carry, for the choice of those that go. */
  readonly usage: Pick<UsageBook, "sampleOf">;
  /** Whether every ingress has said that it sends the process nothing, and waits for nothing from it. */
  readonly isReleased: (processId: string) => boolean;
};

const POLICIES_MAX = 1_000_000;

export function readSnapshot(sql: Sql, options: SnapshotOptions): Snapshot {
  const nodes = new Map(listNodes(sql).map((node) => [node.id, node]));
  const policies = new Map(
    listScalingPolicies(sql, { after: "", limit: POLICIES_MAX }).map((policy) => [
      policy.name,
      parseScalingPolicy(policy),
    ]),
  );
  const inUse = listGenerationsInUse(sql);
  const subscriptions = listSubscriptions(sql);
  const needs = readNeeds(sql, subscriptions);
  const needsInUse = new Map(inUse.map((row) => [generationKey(row), needs.of(row)]));
  const silence = [...nodes.values()].map((node) => ({
    away: node.presence === "away",
    silentMs: options.silentMs(node.id),
  }));
  const processes = listProcessesBySubscription(sql);
  const zones = new Map(
    listVms(sql).flatMap(({ nodeId, zone }) => (nodeId === null ? [] : [[nodeId, zone]])),
  );
  const world = {
    subscriptions,
    processes,
    count: ({ deletedAt, processes, scalingPolicy }: SubscriptionRow): number =>
      deletedAt === null ? wishedProcesses(processes, policies.get(scalingPolicy ?? "")) : 0,
  };
  const isUnsigned = readRefusals(sql, inUse);
  const isEarly = readDependencyRefusals(world);
  return {
    ...options,
    ...world,
    processesOnNode: countOnNodes(processes),
    drainTerms: ({ deletedAt, drain, scalingPolicy }) =>
      deletedAt === null ? drainTerms(drain, policies.get(scalingPolicy ?? "")) : atOnce,
    nodes,
    held: isMassLoss(silence),
    volumes: readVolumes(sql, inUse, (nodeId) => {
      const node = nodes.get(nodeId);
      return node === undefined ? undefined : { name: node.name, closed: closedReason(node) };
    }),
    needs,
    needOf: (process) => needsInUse.get(generationKey(process)),
    quotaOf: readQuotas(sql),
    refusalOf: (process) => isUnsigned(process) ?? isEarly(process),
    packingOf: readPackings(sql),
    zoneOf: ({ id, labels }) => zones.get(id) ?? labels["zone"] ?? null,
  };
}

/** Zones are those of the policy's offers, as level 2 knows them. */
function readPackings(sql: Sql): (partition: string) => Packing {
  const policies = new Map(
    listAllPartitionPolicies(sql).map((row) => [row.name, parsePartitionPolicy(row)]),
  );
  const packings = new Map(
    listAllPartitions(sql).flatMap(({ name, policy }) => {
      const known = policies.get(policy ?? "");
      if (known === undefined) return [];
      const zones = new Set(known.providers.flatMap(({ zone }) => zone ?? []));
      return [[name, { ...known.packing, zones: [...zones] }] as const];
    }),
  );
  return (partition) => packings.get(partition) ?? USUAL_PACKING;
}

const USUAL_PACKING: Packing = { ...PartitionPolicyInput.parse({}).packing, zones: [] };

export function toPlanned(
  snapshot: Snapshot,
  { subscription, row }: { readonly subscription: SubscriptionRow; readonly row: ProcessRow },
): PlannedProcess {
  return {
    id: row.id,
    generation: row.generation,
    desired: row.desired,
    state: row.state,
    ready: row.ready,
    readyMs: subscription.rollout === null ? 0 : readyMs(row, snapshot.nowMs),
    whereabouts: whereabouts(snapshot, subscription, row),
    nodeId: row.nodeId ?? undefined,
    attempt: row.attempt,
    inStateMs: Math.max(0, snapshot.nowMs - Date.parse(row.stateAt)),
    createdAt: row.createdAt,
    drain: row.desired === "stopped" ? null : drainOf(snapshot, row),
    // Few are asked for these.
    get mayBeAsked() {
      const { noticeMs } = snapshot.drainTerms(subscription);
      return (row.ports.length > 0 && noticeMs > 0) || !snapshot.isReleased(row.id);
    },
    get load() {
      return loadOf(snapshot, row);
    },
  };
}

/** A crash begins it anew. */
function readyMs({ ready, stateAt, firstReadyAt }: ProcessRow, nowMs: number): number {
  const since = Math.max(Date.parse(stateAt), Date.parse(firstReadyAt ?? stateAt));
  return ready ? Math.max(0, nowMs - since) : 0;
}

function drainOf(snapshot: Snapshot, row: ProcessRow): Drain | null {
  if (row.drainDeadline === null) return null;
  const deadline = Date.parse(row.drainDeadline);
  const need = row.nodeId === null ? undefined : snapshot.needOf(row);
  const sample = need === undefined ? null : snapshot.usage.sampleOf(row, need.limits);
  const inFlight = sample?.values["in-flight"];
  const isOver = isDrained(
    {
      deadline,
      noticeUntil: Date.parse(row.noticeUntil ?? row.stateAt),
      isReleased: snapshot.isReleased(row.id),
      counted: sample === null || inFlight === undefined ? undefined : { at: sample.at, inFlight },
    },
    snapshot.nowMs,
  );
  return { deadline, isOver };
}

function loadOf({ usage, needOf }: Snapshot, row: ProcessRow): PlannedProcess["load"] {
  const need = row.nodeId === null ? undefined : needOf(row);
  const values = need === undefined ? undefined : usage.sampleOf(row, need.limits)?.values;
  return { inFlight: values?.["in-flight"], cpuPercent: values?.["cpu"] ?? 0 };
}

function countOnNodes(
  processes: ReadonlyMap<string, readonly ProcessRow[]>,
): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const rows of processes.values())
    for (const { nodeId, state } of rows)
      if (nodeId !== null && !isTerminal(state)) counts[nodeId] = (counts[nodeId] ?? 0) + 1;
  return counts;
}

/** Nodes as the scheduler sees them, with what they hold now. */
export function toCandidates(snapshot: Snapshot): readonly Candidate[] {
  const held = heldByNode(snapshot);
  const starting = startingOnNodes(snapshot);
  return [...snapshot.nodes.values()].map((node) => ({
    id: node.id,
    name: node.name,
    partition: node.partition,
    zone: snapshot.zoneOf(node),
    architecture: node.architecture,
    labels: node.labels,
    closed: closedReason(node),
    starting: starting.get(node.id) ?? 0,
    capacity: node.capacity,
    held: held.get(node.id) ?? [],
  }));
}

/** A start that takes longer than this is no part of a storm, and keeps nobody waiting: a large image, or a crash. */
const STARTING_MS_MAX = 120_000;

/** How many processes are placed on each node and about to run. */
function startingOnNodes({ processes, nowMs }: Snapshot): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const rows of processes.values()) {
    for (const { nodeId, desired, state, stateAt, startDeadline } of rows) {
      if (nodeId === null || desired !== "running") continue;
      const isStarting =
        state === "pending"
          ? startDeadline !== null && Date.parse(startDeadline) > nowMs
          : (state === "pulling" || state === "starting") &&
            nowMs - Date.parse(stateAt) < STARTING_MS_MAX;
      if (isStarting) counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
    }
  }
  return counts;
}

/** What takes room on each node: all that has not ended. */
export function heldByNode(
  snapshot: Snapshot,
  counts: (subscription: SubscriptionRow, row: ProcessRow) => boolean = () => true,
): ReadonlyMap<string, readonly Held[]> {
  const held = new Map<string, Map<string, Held>>();
  for (const subscription of snapshot.subscriptions) {
    for (const row of snapshot.processes.get(subscription.id) ?? []) {
      const need = snapshot.needOf(row);
      if (row.nodeId === null || isTerminal(row.state) || need === undefined) continue;
      if (!counts(subscription, row)) continue;
      const key = generationKey(row);
      const onNode = held.get(row.nodeId) ?? new Map<string, Held>();
      const { limits, hostPorts, rule } = need;
      const count = (onNode.get(key)?.count ?? 0) + 1;
      onNode.set(key, {
        subscription: nameOf(subscription),
        size: sizeOf(limits),
        hostPorts,
        ...(rule === undefined ? {} : { rule }),
        count,
      });
      held.set(row.nodeId, onNode);
    }
  }
  return new Map([...held].map(([nodeId, groups]) => [nodeId, [...groups.values()]]));
}

/** For people, and unique; the tenant is left out where it is the usual one. */
export function nameOf({ tenant, alias }: SubscriptionRow): string {
  return tenant === "default" ? alias : `${tenant}/${alias}`;
}

function closedReason({ presence, admission }: NodeRow): Candidate["closed"] {
  if (presence === "away") return "away";
  return admission === "open" ? undefined : admission;
}

/** One of its kind that gives way may help. */
function isRoomLacking({ problem }: ProcessRow): boolean {
  return problem?.code === "NO_ROOM" || problem?.code === "QUOTA_EXCEEDED";
}

function whereabouts(
  snapshot: Snapshot,
  subscription: SubscriptionRow,
  row: ProcessRow,
): Whereabouts {
  const node = row.nodeId === null ? undefined : snapshot.nodes.get(row.nodeId);
  if (node === undefined) return isRoomLacking(row) ? "blocked" : "unplaced";
  if (node.presence === "away") {
    const patienceMs = lossPatienceMs(subscription.lostAfterMs, snapshot.beatIntervalMs);
    return snapshot.silentMs(node.id) >= patienceMs ? "lost" : "away";
  }
  if (snapshot.volumes.isOvertaken(row, subscription.tenant)) return "evicted";
  const { admission, drainDeadline } = node;
  if (admission === "draining" && drainDeadline !== null)
    if (snapshot.nowMs >= Date.parse(drainDeadline)) return "evicted";
  const isLeaving =
    (admission === "draining" || snapshot.moving.has(row.id)) && !isBound(snapshot.volumes, row);
  return isLeaving ? "leaving" : "here";
}
