/** Compares wishes and world and writes what has to happen: snapshot, plan, apply, in slices that leave others their
 * turn. */
import type { DrainTerms } from "../domain/drain.ts";
import { isJobAlias } from "../domain/jobs.ts";
import { type Action, planSubscription, type StopReason } from "../domain/plan.ts";
import { setFreeze } from "../operations/freeze.ts";
import { dropUnusedSecretVersions } from "../operations/secret-versions.ts";
import {
  deleteProcess,
  insertProcess,
  newProcess,
  type ProcessRow,
  updateProcess,
} from "../store/processes.ts";
import { deleteSubscription, type SubscriptionRow } from "../store/subscriptions.ts";
import type { Store, Unit } from "../store/unit.ts";
import { applyPlacement, type PlacementOptions, planPlacements } from "./place.ts";
import { createPlanAgenda } from "./plan-agenda.ts";
import { readResizable } from "./resizable.ts";
import {
  applyVerdict,
  isTurn,
  judge,
  type OpenRollout,
  readOpenRollouts,
  wishOf,
} from "./rollouts.ts";
import { readSnapshot, type Snapshot, type SnapshotOptions, toPlanned } from "./snapshot.ts";

export type ReconcileOptions = {
  readonly store: Store;
  /** Of the moment: silence, beat interval, time. */
  readonly now: () => SnapshotOptions;
  readonly scheduling: PlacementOptions;
  /** From the placement to the moment when a process that has not begun must not begin any more. */
  readonly startDeadlineMs: number;
  /** Actions of each kind written in one tick; the rest comes in the next. */
  readonly actionsMax: number;
  readonly monotonicMs: () => number;
  /** For planning, for what the plans ask for, and for placements: each goes on in the next tick after so long. */
  readonly sliceMs: number;
};

type Step = { readonly subscription: SubscriptionRow; readonly action: Action };

/** Makes the tick: a slice of the work, after which others get their turn. True when there is more to do at once. */
export function createReconcile(options: ReconcileOptions): () => boolean {
  const { store, scheduling } = options;
  const agenda = createPlanAgenda(store.sql);
  let next = "";
  return () => {
    // Reads, plan and write happen without an await between them, so nothing can change under the plan.
    const snapshot = readSnapshot(store.sql, options.now());
    const rollouts = readOpenRollouts(store.sql);
    const { cpuOvercommit } = scheduling;
    const resizable = readResizable(store.sql, snapshot, { cpuOvercommit, rollouts });
    const day = agenda.open(snapshot, rollouts);
    // What jobs run comes and goes by their own loop.
    const subscriptions = snapshot.subscriptions.filter(({ alias }) => !isJobAlias(alias));
    const due = startingAt(subscriptions, next).filter(day.isDue);
    const hasTime = createBudget(options);
    const writes: Write[] = [];
    let planned = 0;
    for (const subscription of due) {
      if (planned > 0 && !hasTime()) break;
      planned += 1;
      const open = rollouts.get(subscription.id);
      const own = plan(snapshot, subscription, { open, resizable });
      if (own.length === 0) day.settle(subscription);
      for (const write of own) writes.push(write);
    }
    next = due[planned]?.id ?? "";
    const hasSteps = writes.length > 0;
    if (hasSteps) applyAll(options, writes);
    // Anew, with the processes that were made just now and without those that gave their place back.
    const fresh = hasSteps ? readSnapshot(store.sql, snapshot) : snapshot;
    const placements = planPlacements(fresh, { ...scheduling, placedMax: options.actionsMax });
    if (placements.length > 0)
      applyAll(
        options,
        placements.map((placement) => (unit) => applyPlacement(unit, placement, options)),
      );
    // What was written may itself be the reason for a next step: look again.
    return hasSteps || placements.length > 0 || planned < due.length;
  };
}

type Write = (unit: Unit) => void;

/** All that is due gets its turn, however much comes before it. */
function startingAt(
  subscriptions: readonly SubscriptionRow[],
  first: string,
): readonly SubscriptionRow[] {
  const index = subscriptions.findIndex(({ id }) => id >= first);
  return index <= 0
    ? subscriptions
    : [...subscriptions.slice(index), ...subscriptions.slice(0, index)];
}

function createBudget({ monotonicMs, sliceMs }: ReconcileOptions): () => boolean {
  const endMs = monotonicMs() + sliceMs;
  return () => monotonicMs() < endMs;
}

/** As many as there is time for, in one transaction; at least one. */
function applyAll(options: ReconcileOptions, writes: readonly Write[]): void {
  options.store.write((unit) => {
    const hasTime = createBudget(options);
    for (const [index, write] of writes.slice(0, options.actionsMax).entries()) {
      if (index > 0 && !hasTime()) return;
      write(unit);
    }
  });
}

/** What its plan asks for; nothing when it is as wished, or waits for a report or a time. */
function plan(
  snapshot: Snapshot,
  subscription: SubscriptionRow,
  {
    open,
    resizable,
  }: { readonly open: OpenRollout | undefined; readonly resizable: ReadonlySet<string> },
): readonly Write[] {
  if (subscription.deletedAt !== null && !snapshot.processes.has(subscription.id))
    return [(unit) => finishDeletion(unit, subscription)];
  const wish = wishOf(snapshot, subscription, { open, resizable });
  const rows = snapshot.processes.get(subscription.id) ?? [];
  const planned = rows.map((row) => toPlanned(snapshot, { subscription, row }));
  const verdict =
    open === undefined ? undefined : judge(snapshot, subscription, { open, wish, planned });
  const judged: readonly Write[] =
    verdict === undefined ? [] : [(unit) => applyVerdict(unit, verdict)];
  // Where its roll-out takes a turn, the wish is another one in the next tick.
  if (verdict !== undefined && isTurn(verdict)) return judged;
  return [
    ...judged,
    ...planSubscription(wish, planned).map(
      (action): Write =>
        (unit) =>
          applyStep(unit, snapshot, { subscription, action }),
    ),
  ];
}

function applyStep(unit: Unit, snapshot: Snapshot, { subscription, action }: Step): void {
  switch (action.kind) {
    case "create":
      return createProcess(unit, subscription, action);
    case "stop": {
      const row = rowOf(snapshot, subscription, action.processId);
      if (row !== undefined) stopProcess(unit, { row, subscription, reason: action.reason });
      return;
    }
    case "drain":
    case "keep": {
      const row = rowOf(snapshot, subscription, action.processId);
      if (row === undefined) return;
      const terms = action.kind === "drain" ? drainTermsOf(snapshot, subscription, row) : null;
      setDrain(unit, { row, subscription, terms });
      return;
    }
    case "announceFreeze":
    case "freeze":
    case "wake": {
      const row = rowOf(snapshot, subscription, action.processId);
      if (row !== undefined) setFreeze(unit, row, freezes[action.kind]);
      return;
    }
    case "resize": {
      const row = rowOf(snapshot, subscription, action.processId);
      if (row !== undefined) resizeProcess(unit, row, subscription);
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

const freezes = { announceFreeze: "announced", freeze: "ordered", wake: null } as const;

/** What leaves a node may finish in its own time, within that of the node. */
function drainTermsOf(
  snapshot: Snapshot,
  subscription: SubscriptionRow,
  row: ProcessRow,
): DrainTerms {
  const { noticeMs, maxMs } = snapshot.drainTerms(subscription);
  const node = snapshot.nodes.get(row.nodeId ?? "");
  const until = node?.admission === "draining" ? Date.parse(node.drainDeadline ?? "") : NaN;
  return {
    noticeMs: row.ports.length > 0 ? noticeMs : 0,
    maxMs: Math.max(0, Math.min(maxMs, (until || Infinity) - snapshot.nowMs)),
  };
}

function rowOf(
  snapshot: Snapshot,
  { id }: SubscriptionRow,
  processId: string,
): ProcessRow | undefined {
  return snapshot.processes.get(id)?.find((row) => row.id === processId);
}

function createProcess(
  unit: Unit,
  subscription: SubscriptionRow,
  { generation, attempt }: Pick<ProcessRow, "generation" | "attempt">,
): void {
  const { id: subscriptionId, alias } = subscription;
  insertProcess(unit.sql, newProcess(unit, { subscriptionId, generation, attempt, alias }));
}

const reasons: Readonly<Record<StopReason, string>> = {
  failed: "it failed",
  surplus: "fewer are wished",
  outdated: "a new generation replaces it",
  drained: "it moves to another node",
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
    freeze: null,
    fence: row.fence + 1,
    // Level 1 waits for what it has sent away.
    ...(reason === "surplus" ? { drainDeadline: row.drainDeadline ?? unit.now } : {}),
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

/** It drains from now on by these terms; null takes that back. */
function setDrain(
  unit: Unit,
  {
    row,
    subscription,
    terms,
  }: {
    readonly row: ProcessRow;
    readonly subscription: SubscriptionRow;
    readonly terms: DrainTerms | null;
  },
): void {
  const after = (ms: number | undefined): string | null =>
    ms === undefined ? null : new Date(unit.nowMs + ms).toISOString();
  const drainDeadline = after(terms?.maxMs);
  updateProcess(unit.sql, row.id, { drainDeadline, noticeUntil: after(terms?.noticeMs) });
  unit.emit({
    type: drainDeadline === null ? "process.kept" : "process.draining",
    tenant: subscription.tenant,
    subject: row.id,
    message:
      drainDeadline === null
        ? `process ${row.id} is wanted again and stays`
        : `process ${row.id} is no longer wanted: it finishes what it has by ${drainDeadline}`,
    data: { nodeId: row.nodeId },
  });
}

/** Its node hears of the new limits under the assignment that it has. */
function resizeProcess(unit: Unit, row: ProcessRow, subscription: SubscriptionRow): void {
  if (row.nodeId === null) return;
  const { generation, tenant } = subscription;
  updateProcess(unit.sql, row.id, {
    generation,
    fence: row.fence + 1,
    decidedRevision: unit.touchNode(row.nodeId),
  });
  unit.emit({
    type: "process.resized",
    tenant,
    subject: row.id,
    message: `process ${row.id} goes on with the limits of generation ${generation}`,
    data: { nodeId: row.nodeId, generation },
  });
}

function forgetProcess(unit: Unit, row: ProcessRow): void {
  deleteProcess(unit.sql, row.id);
  if (row.nodeId !== null) unit.touchNode(row.nodeId);
}

function finishDeletion(unit: Unit, { id, tenant, alias }: SubscriptionRow): void {
  deleteSubscription(unit.sql, id);
  dropUnusedSecretVersions(unit, tenant);
  unit.emit({
    type: "subscription.deleted",
    tenant,
    subject: alias,
    message: `subscription ${alias} is gone`,
  });
}
