import { pausePolicy } from "../domain/autoscale/l1/decide.ts";
/** What level 1 writes: a decision, what it carries on, and the count. */
import type { History, L1Decision, L1State } from "../domain/autoscale/l1/model.ts";
import { INITIAL_L1_STATE } from "../domain/autoscale/l1/model.ts";
import type { SeasonalHistory } from "../domain/autoscale/l1/seasonal.ts";
import { insertDecisions, type NewDecision, trimDecisions } from "../store/decisions.ts";
import type { ProcessRow } from "../store/processes.ts";
import {
  changeScalerState,
  getScaler,
  saveScalerState,
  saveSeasonal,
  saveStartTimes,
} from "../store/scalers.ts";
import { type ScaledSubscription, setWishedProcesses } from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import { wakeProcesses } from "./freeze.ts";

export type Decided = {
  readonly subscription: ScaledSubscription;
  readonly policy: { readonly name: string; readonly revision: number };
  readonly history: History;
  /** Before the decision. */
  readonly before: L1State;
  readonly decision: L1Decision;
  /** Whether a replay may begin here. */
  readonly withState: boolean;
  /** Of a slot that has just ended. */
  readonly season: SeasonalHistory | undefined;
  /** Decisions to leave of this subscription; undefined when it is not the time to trim. */
  readonly keep: number | undefined;
};

/** All decisions of one moment. The count changes without a new generation and without a new revision.
 * Returns whether any count did. */
export function recordDecisions(unit: Unit, decided: readonly Decided[]): boolean {
  insertDecisions(unit.sql, decided.map(toRow));
  let changed = false;
  for (const one of decided) {
    const { subscription, decision, season, keep } = one;
    const { id } = subscription;
    const decidedAt = new Date(decision.trace.at).toISOString();
    saveScalerState(unit.sql, id, { state: decision.state, decidedAt });
    if (season !== undefined) saveSeasonal(unit.sql, id, season);
    if (keep !== undefined) trimDecisions(unit.sql, id, { all: keep, changes: CHANGES_KEPT });
    if (!hasActed(one)) continue;
    changed = true;
    setWishedProcesses(unit.sql, id, decision.desired);
    if (subscription.processes === 0) wakeProcesses(unit, id);
    announce(unit, one);
  }
  return changed;
}

/** Decisions that changed the count, kept beyond the others. */
const CHANGES_KEPT = 2000;

function hasActed({ decision, subscription }: Decided): boolean {
  return decision.act && decision.desired !== subscription.processes;
}

function toRow(one: Decided): NewDecision {
  const { subscription, policy, history, decision } = one;
  const { trace, desired, limiter, reason } = decision;
  return {
    subscriptionId: subscription.id,
    at: trace.at,
    current: trace.current,
    desired,
    acted: hasActed(one),
    limiter,
    reason,
    policyName: policy.name,
    policyRevision: policy.revision,
    history,
    trace,
    state: one.withState ? one.before : null,
  };
}

function announce(unit: Unit, { subscription, policy, decision }: Decided): void {
  const { tenant, alias, processes: from } = subscription;
  const { desired: to, reason, limiter } = decision;
  unit.emit({
    type: "subscription.scaled",
    tenant,
    subject: alias,
    message: `subscription ${alias}: ${reason}`,
    data: { from, to, by: `scaling-policy ${policy.name}`, limiter },
  });
}

/** A count set by hand is left alone for `pauseMs`. Returns until when, in milliseconds. */
export function pauseScaling(unit: Unit, subscriptionId: string, pauseMs: number): number {
  const until = unit.nowMs + pauseMs;
  const state = getScaler(unit.sql, subscriptionId)?.state ?? INITIAL_L1_STATE;
  changeScalerState(unit.sql, subscriptionId, pausePolicy(state, until));
  return until;
}

/** Measurements kept: enough for a 90th percentile, and soon free of what was measured long ago. */
const START_TIMES_MAX = 50;

/** Adds how long a process took from its placement until it was ready for the first time. */
export function recordStart(
  unit: Unit,
  { subscriptionId }: Pick<ProcessRow, "subscriptionId">,
  tookMs: number,
): void {
  const scaler = getScaler(unit.sql, subscriptionId);
  if (scaler === undefined || tookMs < 0) return;
  const startTimes = [...scaler.startTimes, tookMs].slice(-START_TIMES_MAX);
  saveStartTimes(unit.sql, subscriptionId, startTimes);
}
