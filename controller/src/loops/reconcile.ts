import { isSame } from "../domain/canonical.ts";
/** Compares wishes and world and writes what has to happen: snapshot, plan, apply, in one turn and one transaction. */
import { type Action, planSubscription, type StopReason } from "../domain/plan.ts";
import type { Problem } from "../domain/process.ts";
import { schedule, type SchedulingOptions, type WaitingProcess } from "../domain/schedule.ts";
import {
  deleteProcess,
  insertProcess,
  listProcesses,
  type ProcessRow,
  updateProcess,
} from "../store/processes.ts";
import { deleteSubscription, type SubscriptionRow } from "../store/subscriptions.ts";
import type { Store, Unit } from "../store/unit.ts";
import {
  readSnapshot,
  type Snapshot,
  type SnapshotOptions,
  toCandidates,
  toPlanned,
} from "./snapshot.ts";

export type ReconcileOptions = {
  readonly store: Store;
  /** Of the moment: silence, beat interval, time. */
  readonly now: () => SnapshotOptions;
  readonly scheduling: SchedulingOptions;
  /** From the placement to the moment when a process that has not begun must not begin any more. */
  readonly startDeadlineMs: number;
  /** Actions written in one tick; the rest comes in the next. */
  readonly actionsMax: number;
};

type Step = { readonly subscription: SubscriptionRow; readonly action: Action };

/** One tick. True when there is more to do at once. */
export function reconcile(options: ReconcileOptions): boolean {
  const { store, actionsMax } = options;
  // Reads, plan and write happen without an await between them, so nothing can change under the plan.
  const snapshot = readSnapshot(store.sql, options.now());
  const steps = snapshot.subscriptions.flatMap((subscription) => planSteps(snapshot, subscription));
  const finished = snapshot.subscriptions.filter(
    ({ id, deletedAt }) => deletedAt !== null && !snapshot.processes.has(id),
  );
  const waiting = [...snapshot.processes.values()].flat().filter(isWaiting);
  if (
    steps.length === 0 &&
    finished.length === 0 &&
    placements(options, snapshot, waiting).length === 0
  )
    return false;
  store.write((unit) => {
    for (const step of steps.slice(0, actionsMax)) applyStep(unit, snapshot, step);
    for (const subscription of finished) finishDeletion(unit, subscription);
    const rows = listProcesses(unit.sql);
    const fresh = readSnapshot(unit.sql, snapshot);
    for (const placement of placements(options, fresh, rows.filter(isWaiting)).slice(0, actionsMax))
      applyPlacement(unit, { ...placement, startDeadlineMs: options.startDeadlineMs });
  });
  // What was written may itself be the reason for a next step: look again.
  return true;
}

function planSteps(snapshot: Snapshot, subscription: SubscriptionRow): readonly Step[] {
  const rows = snapshot.processes.get(subscription.id) ?? [];
  const wish = {
    count: snapshot.count(subscription),
    generation: subscription.generation,
    held: snapshot.held,
  };
  return planSubscription(
    wish,
    rows.map((row) => toPlanned(snapshot, { subscription, row })),
  ).map((action) => ({ subscription, action }));
}

function applyStep(unit: Unit, snapshot: Snapshot, { subscription, action }: Step): void {
  switch (action.kind) {
    case "create":
      return createProcess(unit, subscription, action.attempt);
    case "stop": {
      const row = rowOf(snapshot, subscription, action.processId);
      if (row !== undefined) stopProcess(unit, { row, subscription, reason: action.reason });
      return;
    }
    case "forget": {
      const row = rowOf(snapshot, subscription, action.processId);
      if (row !== undefined) forgetProcess(unit, row);
      return;
    }
    default:
      action satisfies never;
  }
}

function rowOf(
  snapshot: Snapshot,
  { id }: SubscriptionRow,
  processId: string,
): ProcessRow | undefined {
  return snapshot.processes.get(id)?.find((row) => row.id === processId);
}

function createProcess(unit: Unit, subscription: SubscriptionRow, attempt: number): void {
  insertProcess(unit.sql, {
    id: `${subscription.alias}-${unit.newId()}`,
    subscriptionId: subscription.id,
    generation: subscription.generation,
    attempt,
    desired: "running",
    state: "pending",
    stateAt: unit.now,
    ready: false,
    nodeId: null,
    assignmentId: null,
    fence: 0,
    decidedRevision: 0,
    startDeadline: null,
    pid: null,
    restarts: 0,
    address: null,
    ports: [],
    startedAt: null,
    lastExit: null,
    problem: null,
    createdAt: unit.now,
  });
}

const reasons: Readonly<Record<StopReason, string>> = {
  failed: "it failed",
  surplus: "fewer are wished",
  outdated: "a new generation replaces it",
  drained: "its node is being drained",
};

type Stop = {
  readonly row: ProcessRow;
  readonly subscription: SubscriptionRow;
  readonly reason: StopReason;
};

function stopProcess(unit: Unit, { row, subscription, reason }: Stop): void {
  const ended = row.state === "failed" || row.state === "stopped" || row.state === "pending";
  updateProcess(unit.sql, row.id, {
    desired: "stopped",
    fence: row.fence + 1,
    ...(ended || row.state === "suspect" ? {} : { state: "draining", stateAt: unit.now }),
    ...(row.nodeId === null ? {} : { decidedRevision: unit.touchNode(row.nodeId) }),
  });
  unit.emit({
    type: "process.stopping",
    tenant: subscription.tenant,
    subject: row.id,
    message: `process ${row.id} is told to stop: ${reasons[reason]}`,
    data: { reason, nodeId: row.nodeId },
  });
}

function forgetProcess(unit: Unit, row: ProcessRow): void {
  deleteProcess(unit.sql, row.id);
  if (row.nodeId !== null) unit.touchNode(row.nodeId);
}

function finishDeletion(unit: Unit, { id, tenant, alias }: SubscriptionRow): void {
  deleteSubscription(unit.sql, id);
  unit.emit({
    type: "subscription.deleted",
    tenant,
    subject: alias,
    message: `subscription ${alias} is gone`,
  });
}

function isWaiting({ nodeId, desired }: ProcessRow): boolean {
  return nodeId === null && desired === "running";
}

type Placement = { readonly row: ProcessRow } & (
  | { readonly nodeId: string }
  | { readonly problem: Problem }
);

/** Where waiting processes go, and for those that find no place the reason, where it is another than before. */
function placements(
  { scheduling }: ReconcileOptions,
  snapshot: Snapshot,
  waiting: readonly ProcessRow[],
): readonly Placement[] {
  if (waiting.length === 0) return [];
  const rows = new Map(waiting.map((row) => [row.id, row]));
  const subscriptions = new Map(snapshot.subscriptions.map((one) => [one.id, one]));
  const wanted = waiting.flatMap((row): readonly WaitingProcess[] => {
    const need = snapshot.needOf(row);
    const subscription = subscriptions.get(row.subscriptionId);
    if (need === undefined || subscription === undefined) return [];
    return [{ id: row.id, partition: subscription.partition, ...need }];
  });
  const candidates = toCandidates(snapshot, [...snapshot.processes.values()].flat());
  const { placed, unplaced } = schedule(wanted, candidates, scheduling);
  return [
    ...placed.flatMap(({ processId, nodeId }): readonly Placement[] => {
      const row = rows.get(processId);
      return row === undefined ? [] : [{ row, nodeId }];
    }),
    ...unplaced.flatMap(({ processId, problem }): readonly Placement[] => {
      const row = rows.get(processId);
      return row === undefined || isSame(row.problem, problem) ? [] : [{ row, problem }];
    }),
  ];
}

function applyPlacement(
  unit: Unit,
  placement: Placement & { readonly startDeadlineMs: number },
): void {
  const { row } = placement;
  if ("problem" in placement) {
    updateProcess(unit.sql, row.id, { problem: placement.problem });
    return;
  }
  updateProcess(unit.sql, row.id, {
    nodeId: placement.nodeId,
    assignmentId: `assignment-${unit.newId()}`,
    fence: row.fence + 1,
    startDeadline: new Date(unit.nowMs + placement.startDeadlineMs).toISOString(),
    problem: null,
    decidedRevision: unit.touchNode(placement.nodeId),
  });
}
