import type { Subscription } from "@strata/protocol/api/resources";
import type { Rollout, RolloutStatus } from "@strata/protocol/api/rollouts";

import { CliError } from "../errors.ts";
import { oneLine } from "../output/table.ts";
import type { ApiClient } from "./client.ts";
import { getResource } from "./resource.ts";
import { pathSegment, withQuery } from "./session.ts";

/** What the server keeps of a subscription's roll-outs. */
const KEPT = 100;

/** One line on how far the newest generation is. */
export function describeRollout(alias: string, rollout: RolloutStatus | null): string {
  if (rollout === null) return `${alias} has had no roll-out`;
  const { generation, state, cause, updated, wanted, ready, message } = rollout;
  const counts = `${updated} of ${wanted} processes are of it, ${ready} ready`;
  const line = `${alias} generation ${generation} is ${state} (${cause}): ${counts}`;
  return oneLine(message === null || state === "progressing" ? line : `${line}; ${message}`);
}

/** Newest first. */
export async function getHistory(
  client: ApiClient,
  { alias, tenant }: { readonly alias: string; readonly tenant: string | undefined },
): Promise<readonly Rollout[]> {
  const path = `/v1/subscriptions/${pathSegment(alias)}/rollouts`;
  const page = withQuery(path, { tenant, limit: String(KEPT) });
  return (await getResource<{ readonly items: readonly Rollout[] }>(client, page)).items;
}

/** @throws CliError ROLLOUT_FAILED when the generation that is waited for does not come, with the reason */
export async function requireComing(
  client: ApiClient,
  { alias, tenant, status }: Subscription,
  awaited: number,
): Promise<void> {
  const { rollout } = status;
  if (rollout === null) return;
  if (rollout.state === "failed" && rollout.generation === awaited)
    throw failed(alias, awaited, rollout.message);
  if (rollout.generation === awaited) return;
  const history = await getHistory(client, { alias, tenant });
  const own = history.find(({ generation }) => generation === awaited);
  if (own?.state === "rolledBack") throw failed(alias, awaited, own.reason);
}

function failed(alias: string, generation: number, reason: string | null): CliError {
  const why = oneLine(reason ?? "nobody knows why");
  return new CliError(
    "ROLLOUT_FAILED",
    `generation ${generation} of ${alias} did not come up: ${why}`,
    { hint: `strata rollout history ${alias} shows what became of it` },
  );
}
