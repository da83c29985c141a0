/** People name a subscription or one of its processes; both are found. */
import type { Process } from "@strata/protocol/api/resources";

import { CliError } from "../errors.ts";
import type { ApiClient } from "./client.ts";
import { isNotFound } from "./refusal.ts";
import { getResource, listResources } from "./resource.ts";
import { pathSegment, withQuery } from "./session.ts";

export type Named = { readonly name: string; readonly tenant: string | undefined };

/** The process of this id, or all of the subscription with this alias.
 * @throws CliError REFUSED when there is neither, or the subscription has no process */
export async function findProcesses(
  client: ApiClient,
  { name, tenant }: Named,
): Promise<readonly Process[]> {
  const one = await orUndefined(getResource<Process>(client, `/v1/processes/${pathSegment(name)}`));
  if (one !== undefined) return [one];
  const path = withQuery(`/v1/subscriptions/${pathSegment(name)}/processes`, { tenant });
  const all = await orUndefined(listResources<Process>(client, path));
  if (all !== undefined && all.length > 0) return all;
  throw all === undefined
    ? new CliError("REFUSED", `there is no process and no subscription ${JSON.stringify(name)}`, {
        hint: "see: strata get processes, strata get subscriptions",
      })
    : new CliError("REFUSED", `subscription ${name} has no process`, {
        hint: `start one: strata scale ${name} 1`,
      });
}

/** One process to run a command in: a ready one before a running one before any other. */
export async function findProcess(client: ApiClient, named: Named): Promise<Process> {
  const found = await findProcesses(client, named);
  const best =
    found.find(({ ready }) => ready) ?? found.find(({ state }) => state === "running") ?? found[0];
  if (best === undefined) throw new TypeError("findProcesses gives at least one");
  return best;
}

/** Undefined where the server says that there is none; an alias can be a bad id and the other way round. */
async function orUndefined<Value>(asked: Promise<Value>): Promise<Value | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
