import type { Subscription } from "@strata/protocol/api/resources";

import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getText } from "../options.ts";
import { sendResource } from "./resource.ts";
import { describeRollout } from "./rollout.ts";
import { openSession, pathSegment, withQuery } from "./session.ts";
import { waitForSubscription } from "./wait.ts";

/** Does something to the roll-out of the subscription that the first argument names, and says how far it is then. */
export async function actOnRollout(
  invocation: Invocation,
  verb: "rollout/pause" | "rollout/resume" | "rollout/promote" | "rollback",
  body: object = {},
): Promise<void> {
  const [alias = ""] = invocation.args;
  const client = await openSession(invocation);
  const tenant = getText(invocation.options, "tenant");
  const path = withQuery(`/v1/subscriptions/${pathSegment(alias)}/${verb}`, { tenant });
  const { status } = await sendResource<Subscription>(client, { method: "POST", path, body });
  print(invocation.context, describeRollout(alias, status.rollout));
  await waitForSubscription(client, alias, invocation);
}
