import type { Volume } from "@strata/protocol/api/volumes";

import { sendResource } from "../api/resource.ts";
import { openSession, pathSegment, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getText } from "../options.ts";

export async function run(invocation: Invocation): Promise<void> {
  const { context, options, args } = invocation;
  const [name = ""] = args;
  const { name: released } = await sendResource<Volume>(await openSession(invocation), {
    method: "POST",
    path: withQuery(`/v1/volumes/${pathSegment(name)}/release`, {
      tenant: getText(options, "tenant"),
    }),
    body: {},
  });
  print(context, `${released} is made anew, empty, by the next process that wants it`);
}
