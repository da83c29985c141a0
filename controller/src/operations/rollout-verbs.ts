import type { ProcessSpec } from "@strata/protocol/agent/messages";
import { isTerminal } from "@strata/protocol/agent/process-state";
/** What people do to a roll-out: hold it, let it go on, take it back. */
import type { RolloutState } from "@strata/protocol/api/rollouts";

import { isSame } from "../domain/canonical.ts";
import { isOver } from "../domain/rollout.ts";
import { ControllerError } from "../errors.ts";
import { listProcessesOfSubscription } from "../store/processes.ts";
import { getRollout, listRollouts, type RolloutRow, updateRollout } from "../store/rollouts.ts";
import type { SubscriptionRow } from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import { goBack, PAUSED, specAt, specOf } from "./rollouts.ts";
import { requireLive, type SubscriptionKey, touch } from "./subscriptions.ts";
import { type Precondition, requirePrecondition } from "./upsert.ts";

/** No more processes are replaced. Those that are lost are still made again, each of the generation that it had.
 * @throws ControllerError NOT_FOUND, ROLLOUT_STATE */
export function pauseRollout(unit: Unit, key: SubscriptionKey): SubscriptionRow {
  const { row, rollout } = requireRollout(unit, key, ["paused", "progressing", "canary"]);
  const held = listProcessesOfSubscription(unit.sql, row.id).filter(
    ({ generation, desired, drainDeadline, state }) =>
      generation === row.generation &&
      desired === "running" &&
      drainDeadline === null &&
      !isTerminal(state),
  ).length;
  updateRollout(unit.sql, rollout, { state: "paused", held, reason: PAUSED });
  return announce(unit, row, "paused");
}

/** @throws ControllerError NOT_FOUND, ROLLOUT_STATE */
export function resumeRollout(unit: Unit, key: SubscriptionKey): SubscriptionRow {
  const { row, rollout } = requireRollout(unit, key, ["resumed", "paused"]);
  const change = { state: "progressing", held: null, reason: null, progressAt: unit.now } as const;
  updateRollout(unit.sql, rollout, change);
  return announce(unit, row, "resumed");
}

/** The rest follows the canaries.
 * @throws ControllerError NOT_FOUND, ROLLOUT_STATE */
export function promoteRollout(unit: Unit, key: SubscriptionKey): SubscriptionRow {
  const { row, rollout } = requireRollout(unit, key, ["promoted", "canary"]);
  const change = { state: "progressing", isPromoted: true, progressAt: unit.now } as const;
  updateRollout(unit.sql, rollout, change);
  return announce(unit, row, "promoted");
}

export type Rollback = SubscriptionKey & {
  /** Left out, the last good one that is not what runs. */
  readonly toGeneration?: number | undefined;
  readonly precondition?: Precondition;
};

/** What an earlier generation ran becomes the next one.
 * @throws ControllerError NOT_FOUND, REVISION_STALE, ROLLBACK_IMPOSSIBLE */
export function rollBack(
  unit: Unit,
  { toGeneration, precondition, ...key }: Rollback,
): SubscriptionRow {
  const row = requireLive(unit, key);
  requirePrecondition(precondition, row, `subscription ${key.alias}`);
  const target =
    toGeneration === undefined ? findEarlier(unit, row) : requireEarlier(unit, row, toGeneration);
  return goBack(unit, { row: touch(unit, row), ...target, why: "rolled back by hand" });
}

type Target = { readonly to: number; readonly spec: ProcessSpec };

function requireEarlier(unit: Unit, row: SubscriptionRow, to: number): Target {
  const spec = specAt(unit, row, to);
  if (spec === undefined)
    throw impossible(`generation ${to} of subscription ${row.alias} is not kept`, row);
  if (isSame(spec, specOf(unit, row)))
    throw impossible(`subscription ${row.alias} runs what generation ${to} ran`, row);
  return { to, spec };
}

/** More are not kept. */
const LOOKED_AT = 100;

function findEarlier(unit: Unit, row: SubscriptionRow): Target {
  const { id, generation: before } = row;
  for (const { generation: to, state } of listRollouts(unit.sql, id, {
    before,
    limit: LOOKED_AT,
  })) {
    const spec = state === "complete" ? specAt(unit, row, to) : undefined;
    if (spec !== undefined && !isSame(spec, specOf(unit, row))) return { to, spec };
  }
  const message = `subscription ${row.alias} has no other good generation before its present one`;
  throw impossible(message, row);
}

function impossible(message: string, { alias }: SubscriptionRow): ControllerError {
  return new ControllerError("ROLLBACK_IMPOSSIBLE", message, {
    hint: `GET /v1/subscriptions/${alias}/rollouts lists what there was; PUT what is to run`,
  });
}

/** The newest one, where it is in one of the states that the verb wants. */
function requireRollout(
  unit: Unit,
  key: SubscriptionKey,
  [verb, ...states]: readonly [string, ...RolloutState[]],
): { readonly row: SubscriptionRow; readonly rollout: RolloutRow } {
  const row = requireLive(unit, key);
  const rollout = getRollout(unit.sql, { subscriptionId: row.id, generation: row.generation });
  if (rollout !== undefined && states.includes(rollout.state)) return { row, rollout };
  const state = rollout?.state ?? "complete";
  const message = `the roll-out of subscription ${key.alias} is ${state} and cannot be ${verb}`;
  throw new ControllerError("ROLLOUT_STATE", message, { hint: hintFor(state) });
}

function hintFor(state: RolloutState): string {
  if (state === "paused") return "POST …/rollout/resume lets it go on";
  if (state === "failed") return "PUT what is to run, or POST …/rollback";
  if (isOver(state)) return "nothing is under way: the next change of what runs begins another";
  return "GET the subscription: its status.rollout says how far it is";
}

function announce(unit: Unit, row: SubscriptionRow, verb: string): SubscriptionRow {
  const { tenant, alias, generation } = row;
  unit.emit({
    type: `subscription.rollout-${verb}`,
    tenant,
    subject: alias,
    message: `the roll-out of generation ${generation} of subscription ${alias} was ${verb}`,
    data: { generation },
  });
  return row;
}
