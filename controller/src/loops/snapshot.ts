/** What the reconcile loop looks at: everything, read in one go, in the words of the domain. */
import type { ProcessSpec } from "@strata/protocol/agent/messages";
import { PartitionPolicyInput } from "@strata/protocol/api/autoscale";
import type { TenantQuota } from "@strata/protocol/api/tenants";

import type { Packing } from "../domain/autoscale/l2/bins.ts";
import type { UsageBook } from "../domain/autoscale/usage-book.ts";
import { atOnce, drainTerms, type DrainTerms, endOfNotice, isDrained } from "../domain/drain.ts";
import { isMassLoss, lossPatienceMs } from "../domain/node.ts";
import type { Drain, PlannedProcess, Whereabouts } from "../domain/planned-process.ts";
import type { Problem } from "../domain/process.ts";
import type { Witness } from "../domain/rollout.ts";
import { FROZEN_KEPT, isAsleepFrozen, wishedProcesses } from "../domain/scaling.ts";
import type { Candidate, Need } from "../domain/schedule.ts";
import type { Sql } from "../store/database.ts";
import { keepReading } from "../store/kept-tables.ts";
import { listNodes, type NodeRow } from "../store/nodes.ts";
import {
  listAllPartitionPolicies,
  listAllPartitions,
  parsePartitionPolicy,
} from "../store/partitions.ts";
import {
  createFindSpec,
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
  /** How many shall be there, one that is frozen among them. */
  readonly count: (subscription: SubscriptionRow) => number;
  /** It sleeps, and what is left of it is to be frozen. */
  readonly isAsleep: (subscription: SubscriptionRow) => boolean;
  /** How long a process of the subscription that goes may finish what it has in flight. */
  readonly drainTerms: (subscription: SubscriptionRow) => DrainTerms;
  readonly isReleased: (processId: string) => boolean;
  readonly processOf: (id: string) => ProcessRow | undefined;
  /** What is meant for a node. */
  readonly onNode: (nodeId: string) => readonly ProcessRow[];
  readonly subscriptionOf: (id: string) => SubscriptionRow | undefined;
  readonly startedMs: number;
  readonly usage: Pick<UsageBook, "sampleOf">;
  readonly moving: ReadonlySet<string>;
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
  /** When this controller began to answer. */
  readonly startedMs: number;
  readonly silentMs: (nodeId: string) => number;
  readonly beatIntervalMs: number;
  /** Processes that move to another node for a better spread. */
  readonly moving: ReadonlySet<string>;
  /** What processes carry, for the choice of those that go. */
  readonly usage: Pick<UsageBook, "sampleOf">;
  /** Whether every ingress has said that it sends the process nothing, and waits for nothing from it. */
  readonly isReleased: (processId: string) => boolean;
};

/** Undefined for a generation that is not known any more. */
export type SpecOf = (
  process: Pick<ProcessRow, "subscriptionId" | "generation">,
) => ProcessSpec | undefined;

const POLICIES_MAX = 1_000_000;

export function readSnapshot(sql: Sql, options: SnapshotOptions): Snapshot {
  const nodes = new Map(listNodes(sql).map((node) => [node.id, node]));
  const policies = readPolicies(sql);
  const needs = readNeeds(sql);
  const zones = readZones(sql);
  const silence = [...nodes.values()].map((node) => ({
    away: node.presence === "away",
    silentMs: options.silentMs(node.id),
  }));
  const specOf = createFindSpec(sql);
  const isAsleep = ({ deletedAt, processes, scalingPolicy }: SubscriptionRow): boolean =>
    deletedAt === null && isAsleepFrozen(processes, policies.get(scalingPolicy ?? ""));
  const world = {
    ...readProcesses(sql),
    subscriptions: listSubscriptions(sql),
    count: (one: SubscriptionRow): number => {
      if (one.deletedAt !== null) return 0;
      if (isAsleep(one)) return FROZEN_KEPT;
      return wishedProcesses(one.processes, policies.get(one.scalingPolicy ?? ""));
    },
  };
  const isUnsigned = readRefusals(sql, specOf);
  const isEarly = readDependencyRefusals(world);
  return {
    ...options,
    ...world,
    subscriptionOf: findSubscription(sql, world.subscriptions),
    isAsleep,
    drainTerms: ({ deletedAt, drain, scalingPolicy }) =>
      deletedAt === null ? drainTerms(drain, policies.get(scalingPolicy ?? "")) : atOnce,
    nodes,
    held: isMassLoss(silence),
    volumes: readVolumes(sql, specOf, (nodeId) => {
      const node = nodes.get(nodeId);
      return node === undefined ? undefined : { name: node.name, closed: closedReason(node) };
    }),
    needs,
    needOf: (process) => {
      const spec = specOf(process);
      return spec && needs.of({ subscriptionId: process.subscriptionId, spec });
    },
    quotaOf: readQuotas(sql),
    refusalOf: (process) => isUnsigned(process) ?? isEarly(process),
    packingOf: readPackings(sql),
    zoneOf: ({ id, labels }) => zones.get(id) ?? labels["zone"] ?? null,
  };
}

const readPolicies = keepReading(
  ["scaling_policies"],
  (sql) =>
    new Map(
      listScalingPolicies(sql, { after: "", limit: POLICIES_MAX }).map((policy) => [
        policy.name,
        parseScalingPolicy(policy),
      ]),
    ),
);

const readZones = keepReading(
  ["vms"],
  (sql) =>
    new Map(listVms(sql).flatMap(({ nodeId, zone }) => (nodeId === null ? [] : [[nodeId, zone]]))),
);

function readProcesses(sql: Sql): Pick<Snapshot, "processes" | "processOf" | "onNode"> {
  const processes = listProcessesBySubscription(sql);
  const kept = sql.kept?.read();
  if (kept !== undefined) {
    const { all, ofNode } = kept.processes;
    return { processes, processOf: (id) => all.get(id), onNode: ofNode };
  }
  const all = [...processes.values()].flat();
  const byId = new Map(all.map((row) => [row.id, row]));
  const onNodes = Map.groupBy(all, ({ nodeId }) => nodeId);
  return {
    processes,
    processOf: (id) => byId.get(id),
    onNode: (nodeId) => onNodes.get(nodeId) ?? [],
  };
}

function findSubscription(
  sql: Sql,
  subscriptions: readonly SubscriptionRow[],
): Snapshot["subscriptionOf"] {
  const kept = sql.kept?.read();
  if (kept !== undefined) return kept.subscriptions.get;
  const byId = new Map(subscriptions.map((row) => [row.id, row]));
  return (id) => byId.get(id);
}

/** Zones are those of the policy's offers, as level 2 knows them. */
const readPackings = keepReading(
  ["partitions", "partition_policies"],
  (sql): ((partition: string) => Packing) => {
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
  },
);

const USUAL_PACKING: Packing = { ...PartitionPolicyInput.parse({}).packing, zones: [] };

export function toPlanned(
  snapshot: Snapshot,
  { subscription, row }: { readonly subscription: SubscriptionRow; readonly row: ProcessRow },
): Witness {
  return {
    id: row.id,
    generation: row.generation,
    desired: row.desired,
    state: row.state,
    ready: row.ready || row.freeze === "ordered",
    readyMs: subscription.rollout === null ? 0 : readyMs(row, snapshot.nowMs),
    whereabouts: whereabouts(snapshot, subscription, row),
    nodeId: row.nodeId ?? undefined,
    attempt: row.attempt,
    restarts: row.restarts,
    problem: row.problem,
    firstReadyAt: row.firstReadyAt,
    inStateMs: Math.max(0, snapshot.nowMs - Date.parse(row.stateAt)),
    createdAt: row.createdAt,
    drain: row.desired === "stopped" ? null : drainOf(snapshot, { subscription, row }),
    // Few are asked for these.
    get mayBeAsked() {
      const { noticeMs } = snapshot.drainTerms(subscription);
      return (row.ports.length > 0 && noticeMs > 0) || !snapshot.isReleased(row.id);
    },
    sleep:
      row.freeze === null ? null : { freeze: row.freeze, isReleased: snapshot.isReleased(row.id) },
    get load() {
      return loadOf(snapshot, row);
    },
  };
}

/** A crash begins it anew; one that was frozen has been ready for long enough. */
function readyMs({ ready, freeze, stateAt, firstReadyAt }: ProcessRow, nowMs: number): number {
  if (freeze === "ordered") return Infinity;
  const since = Math.max(Date.parse(stateAt), Date.parse(firstReadyAt ?? stateAt));
  return ready ? Math.max(0, nowMs - since) : 0;
}

function drainOf(
  snapshot: Snapshot,
  { subscription, row }: { readonly subscription: SubscriptionRow; readonly row: ProcessRow },
): Drain | null {
  if (row.drainDeadline === null) return null;
  const deadline = Date.parse(row.drainDeadline);
  const need = row.nodeId === null ? undefined : snapshot.needOf(row);
  const sample = need === undefined ? null : snapshot.usage.sampleOf(row, need.limits);
  const inFlight = sample?.values["in-flight"];
  const given = Date.parse(row.noticeUntil ?? row.stateAt);
  const { startedMs } = snapshot;
  const { noticeMs } = snapshot.drainTerms(subscription);
  const isOver = isDrained(
    {
      deadline,
      noticeUntil: row.ports.length > 0 ? endOfNotice(given, { startedMs, noticeMs }) : given,
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

/** For people, and unique; the tenant is left out where it is the usual one. */
export function nameOf({ tenant, alias }: SubscriptionRow): string {
  return tenant === "default" ? alias : `${tenant}/${alias}`;
}

export function closedReason({ presence, admission }: NodeRow): Candidate["closed"] {
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
