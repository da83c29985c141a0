import type { Node } from "@strata/protocol/api/resources";

import type { ApiClient } from "../api/client.ts";
import { getResource, sendResource } from "../api/resource.ts";
import { openSession, pathSegment } from "../api/session.ts";
import { waitUntil } from "../api/wait.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { CliError } from "../errors.ts";
import { getCount, getFlag, getText } from "../options.ts";

export async function run(invocation: Invocation): Promise<void> {
  const { context, options } = invocation;
  const client = await openSession(invocation);
  const nodes = await order(client, invocation);
  for (const node of nodes) print(context, describe(node));
  if (!getFlag(options, "wait")) return;
  const ends = new Map<string, Node>();
  await waitUntil(async () => {
    for (const { name } of nodes) {
      if (ends.has(name)) continue;
      const node = await getResource<Node>(client, `/v1/nodes/${pathSegment(name)}`);
      if (isUnderWay(node)) return describe(node);
      ends.set(name, node);
      print(context, describe(node));
    }
    return undefined;
  }, invocation);
  const failed = [...ends.values()].find(({ upgrade }) => upgrade?.state !== "complete");
  if (failed !== undefined) throw new CliError("UPGRADE_FAILED", describe(failed));
}

/** @throws CliError USAGE unless exactly one of node and partition is named */
async function order(client: ApiClient, { args, options }: Invocation): Promise<readonly Node[]> {
  const [name] = args;
  const partition = getText(options, "partition");
  if ((name === undefined) === (partition === undefined)) {
    throw new CliError("USAGE", "name a node, or a partition with --partition");
  }
  if (name !== undefined) {
    const path = `/v1/nodes/${pathSegment(name)}/upgrade`;
    return [await sendResource<Node>(client, { method: "POST", path, body: {} })];
  }
  const atOnce = getCount(options, "atOnce");
  const body = { partition, ...(atOnce !== undefined && { atOnce }) };
  const request = { method: "POST", path: "/v1/nodes/upgrade", body } as const;
  return (await sendResource<{ readonly items: readonly Node[] }>(client, request)).items;
}

function isUnderWay({ upgrade }: Node): boolean {
  return ["queued", "wanted", "settling"].includes(upgrade?.state ?? "");
}

/** Null: it was queued, and another node failed. */
function describe({ name, upgrade, agentVersion }: Node): string {
  if (upgrade === null) return `${name}: called off, stays at ${agentVersion}`;
  const why = upgrade.reason === null ? "" : `: ${upgrade.reason}`;
  return `${name}: upgrade is ${upgrade.state}, agent ${agentVersion}${why}`;
}
