import type { Node } from "@strata/protocol/api/resources";

import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import type { ApiClient } from "./client.ts";
import { sendResource } from "./resource.ts";
import { openSession, pathSegment } from "./session.ts";

/** Says whether a node takes processes, and shows what it is now. */
export async function admitNode(
  invocation: Invocation,
  verb: "cordon" | "uncordon" | "drain",
): Promise<ApiClient> {
  const [name = ""] = invocation.args;
  const client = await openSession(invocation);
  const path = `/v1/nodes/${pathSegment(name)}/${verb}`;
  const node = await sendResource<Node>(client, { method: "POST", path, body: {} });
  print(invocation.context, `${node.name} is ${node.state}`);
  return client;
}
