/** Roll-outs as the API shows them. */
import { isTerminal } from "@strata/protocol/agent/process-state";
import type { Rollout, RolloutStatus } from "@strata/protocol/api/rollouts";

import type { Sql } from "../store/database.ts";
import type { ProcessRow } from "../store/processes.ts";
import { getRollout, type RolloutRow } from "../store/rollouts.ts";
import type { SubscriptionRow } from "../store/subscriptions.ts";

export function showRolloutRow(row: RolloutRow): Rollout {
  const { generation, state, cause, reason, digest, rollbackTo } = row;
  const { startedAt, progressAt, endedAt } = row;
  return {
    generation,
    state,
    cause,
    reason,
    digest,
    changed: [...row.changed],
    from: row.fromGeneration,
    rollbackTo,
    startedAt,
    progressAt,
    endedAt,
  };
}

/** How far the newest is; null for one of before roll-outs were recorded. */
export function readRolloutStatus(
  sql: Sql,
  subscription: SubscriptionRow,
  { processes, count }: { readonly processes: readonly ProcessRow[]; readonly count: number },
): RolloutStatus | null {
  const { id: subscriptionId, generation } = subscription;
  const rollout = getRollout(sql, { subscriptionId, generation });
  if (rollout === undefined) return null;
  const newest = processes.filter(
    (one) =>
      one.generation === generation &&
      one.desired === "running" &&
      one.drainDeadline === null &&
      !isTerminal(one.state),
  );
  const ready = newest.filter((one) => one.ready && one.state === "running").length;
  const counts = { wanted: count, updated: newest.length, ready };
  const { state, cause } = rollout;
  const rolledBack = whyRolledBack(sql, subscription, rollout);
  const message = [rolledBack, messageOf(rollout, counts)].filter((part) => part !== undefined);
  return { generation, state, cause, ...counts, message: message.join("; ") || null };
}

function messageOf(
  { state, generation, reason }: RolloutRow,
  { wanted, ready }: Pick<RolloutStatus, "wanted" | "ready">,
): string | undefined {
  switch (state) {
    case "progressing":
      return `${ready} of ${wanted} processes are of generation ${generation} and ready`;
    case "canary":
      return `${ready} canaries of generation ${generation} are ready, and the rest waits for them to be promoted`;
    case "paused":
      return `the roll-out of generation ${generation} is paused`;
    case "failed":
      return `generation ${generation} failed: ${reason}`;
    default:
      return undefined;
  }
}

/** Said as long as the subscription does not run what its fields describe. */
function whyRolledBack(
  sql: Sql,
  { id: subscriptionId, wishedGeneration }: SubscriptionRow,
  { rollbackTo, generation }: RolloutRow,
): string | undefined {
  if (wishedGeneration === null) return undefined;
  const bad = getRollout(sql, { subscriptionId, generation: wishedGeneration });
  const what =
    rollbackTo === null ? `generation ${generation}` : `what generation ${rollbackTo} ran`;
  return `it runs ${what}, since generation ${wishedGeneration} was rolled back: ${bad?.reason ?? "it failed"}`;
}
