import type { TokenCreated } from "@strata/protocol/api/tokens";

import { sendResource } from "../api/resource.ts";
import { openSession, pathSegment } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print, say } from "../context.ts";
import { getText } from "../options.ts";

export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const [id = ""] = args;
  const client = await openSession(invocation);
  const made = await sendResource<TokenCreated>(client, {
    method: "POST",
    path: `/v1/tokens/${pathSegment(id)}/rotate`,
    body: { overlap: getText(options, "overlap"), expiresIn: getText(options, "expiresIn") },
  });
  const until = made.previousExpiresAt;
  say(
    context,
    until === null ? "the old secret is of no use now" : `the old secret is good until ${until}`,
  );
  print(context, made.token);
}
