import type { JoinTokenCreated } from "@strata/protocol/api/resources";

import { sendResource } from "../api/resource.ts";
import { openSession } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print, say } from "../context.ts";
import { getCount, getFlag, getText } from "../options.ts";

export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const [partition] = args;
  const uses = getCount(options, "uses");
  const expiresIn = getText(options, "expiresIn");
  const client = await openSession(invocation);
  const created = await sendResource<JoinTokenCreated>(client, {
    method: "POST",
    path: "/v1/join-tokens",
    body: { partition, uses, expiresIn },
  });
  if (getFlag(options, "quiet")) return print(context, created.token);
  say(
    context,
    `for ${created.usesLeft} nodes of ${created.partition}, until ${created.expiresAt}:`,
  );
  print(context, created.command);
}
