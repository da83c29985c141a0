/** What the reconcile loop looks at: everything, read in one go, in the words of the domain. */
import type { Capacity, ProcessSpec } from "@strata/protocol/agent/messages";
import { isTerminal } from "@strata/protocol/agent/process-state";

import { isMassLoss, MISSED_BEATS_UNTIL_AWAY } from "../domain/node.ts";
import type { PlannedProcess, Whereabouts } from "../domain/plan.ts";
import { wishedProcesses } from "../domain/scaling.ts";
import type { Candidate, Need } from "../domain/schedule.ts";
import type { Sql } from "../store/database.ts";
import { listNodes, type NodeRow } from "../store/nodes.ts";
import { listGenerationsInUse, listProcesses, type ProcessRow } from "../store/processes.ts";
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
  readonly needOf: (process: Pick<ProcessRow, "subscriptionId" | "generation">) => Need | undefined;
};

export type SnapshotOptions = {
  readonly nowMs: number;
  readonly silentMs: (nodeId: string) => number;
  readonly beatIntervalMs: number;
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
  return {
    ...options,
    subscriptions: listSubscriptions(sql),
    processes: Map.groupBy(listProcesses(sql), ({ subscriptionId }) => subscriptionId),
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
  };
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

function generationKey(row: {
  readonly subscriptionId: string;
  readonly generation: number;
}): string {
  return `${row.subscriptionId}/${row.generation}`;
}
