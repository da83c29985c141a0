import type { Node } from "@strata/protocol/api/resources";

import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getText } from "../options.ts";
import type { ApiClient } from "./client.ts";
import { sendResource } from "./resource.ts";
import { openSession, pathSegment, withQuery } from "./session.ts";

/** Says whether a node takes processes, and shows what it is now. */
export async function admitNode(
  invocation: Invocation,
  verb: "cordon" | "uncordon" | "drain",
): Promise<ApiClient> {
  const [name = ""] = invocation.args;
  const client = await openSession(invocation);
  const deadline = getText(invocation.options, "deadline");
  const path = withQuery(`/v1/nodes/${pathSegment(name)}/${verb}`, { deadline });
  const node = await sendResource<Node>(client, { method: "POST", path, body: {} });
  const until = node.drainDeadline === null ? "" : ` until ${node.drainDeadline}`;
  print(invocation.context, `${node.name} is ${node.state}${until}`);
  return client;
}
