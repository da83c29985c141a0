import type { Node } from "@strata/protocol/api/resources";

import { sendResource } from "../api/resource.ts";
import { openSession, pathSegment } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { CliError } from "../errors.ts";
import { getFlag } from "../options.ts";

export async function run(invocation: Invocation): Promise<void> {
  const [name = "", ...roles] = invocation.args;
  const [follows, none] = ["asPartition", "none"].map((flag) => getFlag(invocation.options, flag));
  if ([roles.length > 0, follows, none].filter(Boolean).length !== 1)
    throw new CliError("USAGE", "name roles, or give --none or --as-partition", {
      hint: "strata node roles NODE ingress",
    });
  const client = await openSession(invocation);
  const node = await sendResource<Node>(client, {
    method: "PUT",
    path: `/v1/nodes/${pathSegment(name)}/roles`,
    body: { roles: follows === true ? null : roles },
  });
  print(invocation.context, `${node.name} has the roles: ${node.roles.join(", ") || "none"}`);
}
