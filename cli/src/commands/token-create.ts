import type { TokenCreated } from "@strata/protocol/api/tokens";

import { sendResource } from "../api/resource.ts";
import { openSession } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print, say } from "../context.ts";
import { CliError } from "../errors.ts";
import { getCount, getText } from "../options.ts";

export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const [name] = args;
  const scope = getText(options, "scope");
  if (scope === undefined) {
    throw new CliError("USAGE", "which scope?", {
      hint: "--scope deployer, or another: admin, operator, viewer, push, pull",
    });
  }
  const client = await openSession(invocation);
  const made = await sendResource<TokenCreated>(client, {
    method: "POST",
    path: "/v1/tokens",
    body: {
      name,
      scope,
      tenant: getText(options, "tenant"),
      expiresIn: getText(options, "expiresIn"),
      ratePerMinute: getCount(options, "rate"),
    },
  });
  say(context, `${made.id}, ${made.scope} of ${made.tenant}; it is shown this once:`);
  print(context, made.token);
}
