import type { Node } from "@strata/protocol/api/resources";

import { admitNode } from "../api/admit-node.ts";
import { getResource } from "../api/resource.ts";
import { pathSegment } from "../api/session.ts";
import { waitUntil } from "../api/wait.ts";
import type { Invocation } from "../command.ts";
import { getFlag } from "../options.ts";

export async function run(invocation: Invocation): Promise<void> {
  const client = await admitNode(invocation, "drain");
  if (!getFlag(invocation.options, "wait")) return;
  const path = `/v1/nodes/${pathSegment(invocation.args[0] ?? "")}`;
  await waitUntil(async () => {
    const { processes } = await getResource<Node>(client, path);
    return processes === 0 ? undefined : `${processes} processes are left on it`;
  }, invocation);
}
