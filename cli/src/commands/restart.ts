import type { Subscription } from "@strata/protocol/api/resources";

import { sendResource } from "../api/resource.ts";
import { openSession, pathSegment, withQuery } from "../api/session.ts";
import { waitForSubscription } from "../api/wait.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getText } from "../options.ts";

export async function run(invocation: Invocation): Promise<void> {
  const [alias = ""] = invocation.args;
  const client = await openSession(invocation);
  const tenant = getText(invocation.options, "tenant");
  await sendResource<Subscription>(client, {
    method: "POST",
    path: withQuery(`/v1/subscriptions/${pathSegment(alias)}/restart`, { tenant }),
    body: {},
  });
  await waitForSubscription(client, alias, invocation);
  print(invocation.context, `${alias} gets new processes`);
}
