import type { Subscription } from "@strata/protocol/api/resources";

import { getResource } from "../api/resource.ts";
import { describeRollout } from "../api/rollout.ts";
import { openSession, pathSegment, withQuery } from "../api/session.ts";
import { waitForSubscription } from "../api/wait.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getText } from "../options.ts";

export async function run(invocation: Invocation): Promise<void> {
  const [alias = ""] = invocation.args;
  const client = await openSession(invocation);
  const tenant = getText(invocation.options, "tenant");
  const path = withQuery(`/v1/subscriptions/${pathSegment(alias)}`, { tenant });
  await waitForSubscription(client, alias, invocation);
  const { status } = await getResource<Subscription>(client, path);
  print(invocation.context, describeRollout(alias, status.rollout));
}
