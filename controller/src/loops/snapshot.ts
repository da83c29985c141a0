/** What the reconcile loop looks at: everything, read in one go, in the words of the domain. */
import type { Capacity, ProcessSpec } from "@strata/protocol/agent/messages";
import { isTerminal } from "@strata/protocol/agent/process-state";

import type { UsageBook } from "../domain/autoscale/usage-book.ts";
import { isMassLoss, MISSED_BEATS_UNTIL_AWAY } from "../domain/node.ts";
import type { Drain, PlannedProcess, Whereabouts } from "../domain/planned-process.ts";
import { wishedProcesses } from "../domain/scaling.ts";
import type { Candidate, Need } from "../domain/schedule.ts";
import type { Sql } from "../store/database.ts";
import { listNodes, type NodeRow } from "../store/nodes.ts";
import {
  generationKey,
  listGenerationsInUse,
  listProcesses,
  type ProcessRow,
} from "../store/processes.ts";
import { listScalingPolicies, parseScalingPolicy } from "../store/scaling-policies.ts";
import { listSubscriptions, type SubscriptionRow } from "../store/subscriptions.ts";

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
  readonly drainMs: (subscription: SubscriptionRow) => number;
  readonly processesOnNode: Readonly<Record<string, number>>;
  readonly usage: Pick<UsageBook, "sampleOf">;
  readonly needOf: (process: Pick<ProcessRow, "subscriptionId" | "generation">) => Need | undefined;
};

export type SnapshotOptions = {
  readonly nowMs: number;
  readonly silentMs: (nodeId: string) => number;
  readonly beatIntervalMs: number;
  /** What processes carry, for the choice of those that go. */
  readonly usage: Pick<UsageBook, "sampleOf">;
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
  const needs = new Map(
    listGenerationsInUse(sql).map((row) => [generationKey(row), needOfSpec(row.spec)]),
  );
  const silence = [...nodes.values()].map((node) => ({
    away: node.presence === "away",
    silentMs: options.silentMs(node.id),
  }));
  const processes = listProcesses(sql);
  return {
    ...options,
    subscriptions: listSubscriptions(sql),
    processes: Map.groupBy(processes, ({ subscriptionId }) => subscriptionId),
    processesOnNode: countOnNodes(processes),
    drainMs: ({ deletedAt, scalingPolicy }) =>
      deletedAt === null ? (policies.get(scalingPolicy ?? "")?.drainMax ?? 0) : 0,
    nodes,
    held: isMassLoss(silence),
    count: ({ deletedAt, processes, scalingPolicy }) =>
      deletedAt === null ? wishedProcesses(processes, policies.get(scalingPolicy ?? "")) : 0,
    needOf: (process) => needs.get(generationKey(process)),
  };
}

function needOfSpec({ limits, ports }: ProcessSpec): Need {
  const hostPorts = ports.flatMap(({ hostPort, protocol }) =>
    hostPort === undefined ? [] : [`${protocol}/${hostPort}`],
  );
  return { limits, hostPorts };
}

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
    whereabouts: whereabouts(snapshot, subscription, row),
    nodeId: row.nodeId ?? undefined,
    attempt: row.attempt,
    inStateMs: Math.max(0, snapshot.nowMs - Date.parse(row.stateAt)),
    createdAt: row.createdAt,
    drain:
      row.drainDeadline === null || row.desired === "stopped"
        ? null
        : toDrain(Date.parse(row.drainDeadline), snapshot.nowMs),
    load: loadOf(snapshot, row),
  };
}

function toDrain(deadline: number, nowMs: number): Drain {
  return { deadline, isOver: nowMs >= deadline };
}

function loadOf({ usage, needOf }: Snapshot, row: ProcessRow): PlannedProcess["load"] {
  const need = row.nodeId === null ? undefined : needOf(row);
  const values = need === undefined ? undefined : usage.sampleOf(row, need.limits)?.values;
  return { inFlight: values?.["in-flight"], cpuPercent: values?.["cpu"] ?? 0 };
}

function countOnNodes(rows: readonly ProcessRow[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { nodeId, state } of rows)
    if (nodeId !== null && !isTerminal(state)) counts[nodeId] = (counts[nodeId] ?? 0) + 1;
  return counts;
}

/** Nodes as the scheduler sees them, with what they hold now. */
export function toCandidates(snapshot: Snapshot, rows: Iterable<ProcessRow>): readonly Candidate[] {
  const held = new Map<string, { allocated: Capacity; hostPorts: string[] }>();
  for (const row of rows) {
    const need = snapshot.needOf(row);
    if (row.nodeId === null || isTerminal(row.state) || need === undefined) continue;
    const { allocated, hostPorts } = held.get(row.nodeId) ?? { allocated: nothing, hostPorts: [] };
    hostPorts.push(...need.hostPorts);
    held.set(row.nodeId, { allocated: plus(allocated, need), hostPorts });
  }
  return [...snapshot.nodes.values()].map((node) => ({
    id: node.id,
    name: node.name,
    partition: node.partition,
    closed: closedReason(node),
    capacity: node.capacity,
    allocated: held.get(node.id)?.allocated ?? nothing,
    hostPorts: held.get(node.id)?.hostPorts ?? [],
  }));
}

const nothing: Capacity = { cpuMillis: 0, memoryBytes: 0, pids: 0 };

function plus(allocated: Capacity, { limits }: Need): Capacity {
  return {
    cpuMillis: allocated.cpuMillis + limits.cpuMaxMillis,
    memoryBytes: allocated.memoryBytes + limits.memoryMaxBytes,
    pids: allocated.pids + limits.pidsMax,
  };
}

function closedReason({ presence, admission }: NodeRow): Candidate["closed"] {
  if (presence === "away") return "away";
  return admission === "open" ? undefined : admission;
}

function whereabouts(
  snapshot: Snapshot,
  subscription: SubscriptionRow,
  row: ProcessRow,
): Whereabouts {
  const node = row.nodeId === null ? undefined : snapshot.nodes.get(row.nodeId);
  if (node === undefined) return row.problem === null ? "unplaced" : "blocked";
  if (node.presence === "away") {
    const patienceMs = Math.max(
      subscription.lostAfterMs,
      MISSED_BEATS_UNTIL_AWAY * snapshot.beatIntervalMs,
    );
    return snapshot.silentMs(node.id) >= patienceMs ? "lost" : "away";
  }
  return node.admission === "draining" ? "leaving" : "here";
}
