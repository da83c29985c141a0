/** How a generation of a subscription comes to be, and how its roll-out ends. */
import type { ProcessSpec } from "@strata/protocol/agent/messages";

import { isSame } from "../domain/canonical.ts";
import { usualRollout } from "../domain/rollout-policy.ts";
import { canMove, isOver, type RolloutRecord } from "../domain/rollout.ts";
import { changedFields } from "../domain/spec-changes.ts";
import {
  getLastGood,
  getRollout,
  insertRollout,
  type RolloutRow,
  trimRollouts,
  updateRollout,
} from "../store/rollouts.ts";
import {
  getGeneration,
  insertGeneration,
  saveSubscription,
  type SubscriptionRow,
  trimGenerations,
} from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import { dropUnusedSecretVersions } from "./secret-versions.ts";

/** Old generations kept beside those that still run, to look at and to return to. */
const GENERATIONS_KEPT = 10;
/** Of older ones only what became of them. */
const ROLLOUTS_KEPT = 100;

export type NewGeneration = {
  /** With what else is new of it, and with the generation that it had. */
  readonly row: SubscriptionRow;
  readonly spec: ProcessSpec;
  /** For people: `cartridge web`, `restart`. */
  readonly cause: string;
  /** The generation whose spec it takes again; null for a wish of its own. */
  readonly rollbackTo?: number | null;
  /** Whether it is new, or comes back: there is nothing to stand beside. */
  readonly isFresh?: boolean;
};

/** Writes down the next generation and its roll-out, which takes the place of one that is under way. What is paused
 * stays paused, but for a roll-back. */
export function startRollout(
  unit: Unit,
  { row, spec, cause, rollbackTo = null, isFresh = false }: NewGeneration,
): SubscriptionRow {
  const { id: subscriptionId, generation: before } = row;
  const previous = getRollout(unit.sql, { subscriptionId, generation: before });
  const isPaused = previous?.state === "paused" && rollbackTo === null && !isFresh;
  const next = { ...row, generation: before + 1 };
  saveSubscription(unit.sql, next);
  if (previous !== undefined && !isOver(previous.state))
    endRollout(unit, previous, { state: "superseded", reason: previous.reason });
  const { generation } = next;
  recordGeneration(unit, next, spec);
  insertRollout(unit.sql, {
    subscriptionId,
    generation,
    digest: spec.image.digest,
    fromGeneration: before === 0 ? null : before,
    state: isPaused ? "paused" : "progressing",
    cause,
    changed: changedFields(specOf(unit, row), spec),
    rollbackTo,
    reason: isPaused ? PAUSED : null,
    // Back goes all at once.
    isPromoted:
      isFresh || rollbackTo !== null || (row.rollout ?? usualRollout).canary === undefined,
    held: isPaused ? 0 : null,
    startedAt: unit.now,
    progressAt: unit.now,
    endedAt: null,
  });
  return next;
}

/** Writes down what the row's present generation runs, and forgets the oldest. The row must be stored already. */
export function recordGeneration(unit: Unit, row: SubscriptionRow, spec: ProcessSpec): void {
  const { id: subscriptionId, generation } = row;
  insertGeneration(unit.sql, { subscriptionId, generation, spec, createdAt: unit.now });
  forgetOld(unit, row);
}

/** Why one that is paused stands as it does. */
export const PAUSED = "paused by hand";

/** What the subscription runs; undefined before its first generation. */
export function specOf(unit: Unit, row: SubscriptionRow): ProcessSpec | undefined {
  return specAt(unit, row, row.generation);
}

/** What its fields describe, which a roll-back has it not run. */
export function wishedSpecOf(unit: Unit, row: SubscriptionRow): ProcessSpec | undefined {
  return specAt(unit, row, row.wishedGeneration ?? row.generation);
}

/** Of a generation that is kept. */
export function specAt(
  unit: Unit,
  { id: subscriptionId }: Pick<SubscriptionRow, "id">,
  generation: number,
): ProcessSpec | undefined {
  return getGeneration(unit.sql, { subscriptionId, generation })?.spec;
}

function forgetOld(unit: Unit, row: SubscriptionRow): void {
  const { id: subscriptionId, generation, tenant, wishedGeneration } = row;
  const good = getLastGood(unit.sql, { subscriptionId, generation });
  trimGenerations(unit.sql, subscriptionId, {
    oldest: generation - GENERATIONS_KEPT,
    kept: [wishedGeneration ?? generation, good ?? generation],
  });
  trimRollouts(unit.sql, subscriptionId, {
    oldest: generation - ROLLOUTS_KEPT,
    kept: good ?? generation,
  });
  dropUnusedSecretVersions(unit, tenant);
}

function endRollout(
  unit: Unit,
  row: RolloutRow,
  change: Pick<RolloutRow, "state" | "reason">,
): void {
  if (!canMove(row.state, change.state))
    throw new Error(`a roll-out does not go from ${row.state} to ${change.state}`);
  updateRollout(unit.sql, row, { ...change, held: null, endedAt: unit.now });
}

/** Writes down what became of an open roll-out, and goes back where it failed and there is something to go back to. */
export function settleRollout(
  unit: Unit,
  {
    subscription,
    rollout,
    next,
  }: {
    readonly subscription: SubscriptionRow;
    readonly rollout: RolloutRow;
    readonly next: RolloutRecord;
  },
): void {
  const { state, isPromoted, reason } = next;
  if (state !== rollout.state && !canMove(rollout.state, state))
    throw new Error(`a roll-out does not go from ${rollout.state} to ${state}`);
  updateRollout(unit.sql, rollout, {
    state,
    reason,
    isPromoted,
    progressAt: new Date(next.progressAtMs).toISOString(),
    endedAt: isOver(state) ? unit.now : null,
  });
  if (state === rollout.state) return;
  if (state === "failed") fail(unit, { subscription, rollout: { ...rollout, state, reason } });
  else announce(unit, subscription, { state, cause: rollout.cause });
}

function announce(
  unit: Unit,
  { tenant, alias, generation }: SubscriptionRow,
  { state, cause }: Pick<RolloutRow, "state" | "cause">,
): void {
  const messages: Readonly<Record<string, string>> = {
    complete: `all processes of subscription ${alias} are of generation ${generation} (${cause})`,
    canary: `the canaries of generation ${generation} of subscription ${alias} are ready`,
    progressing: `generation ${generation} of subscription ${alias} goes on to all processes`,
  };
  unit.emit({
    type: `subscription.rollout-${state}`,
    tenant,
    subject: alias,
    message: messages[state] ?? `the roll-out of subscription ${alias} is ${state}`,
    data: { generation },
  });
}

type Failure = { readonly subscription: SubscriptionRow; readonly rollout: RolloutRow };

function fail(unit: Unit, { subscription: row, rollout }: Failure): void {
  const { generation, reason } = rollout;
  const found = findWayBack(unit, { subscription: row, rollout });
  const stays = typeof found === "string" ? `; ${found}` : "";
  updateRollout(unit.sql, rollout, { reason: `${reason}${stays}` });
  unit.emit({
    type: "subscription.rollout-failed",
    tenant: row.tenant,
    subject: row.alias,
    message: `generation ${generation} of subscription ${row.alias} failed: ${reason}${stays}`,
    data: { generation, digest: rollout.digest },
  });
  if (typeof found !== "string") goBack(unit, { row, ...found, why: reason ?? "it failed" });
}

type WayBack = { readonly to: number; readonly spec: ProcessSpec };

/** The last generation that was good, or why there is no going back to it. */
function findWayBack(unit: Unit, { subscription: row, rollout }: Failure): WayBack | string {
  if (rollout.rollbackTo !== null) return "it was a roll-back itself, and is tried again";
  if (!(row.rollout ?? usualRollout).autoRollback)
    return "it does not go back by itself, and is tried again";
  const to = getLastGood(unit.sql, rollout);
  const spec = to === undefined ? undefined : specAt(unit, row, to);
  if (to === undefined || spec === undefined)
    return "there is no good generation to go back to, and it is tried again";
  if (isSame(spec, specOf(unit, row)))
    return `generation ${to}, the last good one, runs the same, and it is tried again`;
  return { to, spec };
}

/** The spec of an earlier generation becomes a new one. The subscription's fields stay as they are, so that the same
 * wish once more changes nothing. */
export function goBack(
  unit: Unit,
  { row, to, spec, why }: WayBack & { readonly row: SubscriptionRow; readonly why: string },
): SubscriptionRow {
  const { id: subscriptionId, generation } = row;
  const rollout = getRollout(unit.sql, { subscriptionId, generation });
  if (rollout !== undefined && canMove(rollout.state, "rolledBack"))
    endRollout(unit, rollout, { state: "rolledBack", reason: why });
  const wished = row.wishedGeneration ?? generation;
  const isWished = isSame(spec, wishedSpecOf(unit, row));
  const next = startRollout(unit, {
    row: { ...row, wishedGeneration: isWished ? null : wished },
    spec,
    cause: `roll-back to generation ${to}`,
    rollbackTo: to,
  });
  unit.emit({
    type: "subscription.rolled-back",
    tenant: row.tenant,
    subject: row.alias,
    message: `subscription ${row.alias} goes back from generation ${generation} to what generation ${to} ran: ${why}`,
    data: { from: generation, to, generation: next.generation },
  });
  return next;
}
