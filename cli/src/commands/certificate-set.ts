import type { Certificate } from "@strata/protocol/api/certificates";

import { sendResource } from "../api/resource.ts";
import { openSession, pathSegment, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { CliError } from "../errors.ts";
import { getText } from "../options.ts";
import { readText } from "../read-text.ts";

/** The key never stands on the command line, which everybody on the machine can read. */
export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const [name = ""] = args;
  const [chain, key] = [getText(options, "chain"), getText(options, "key")];
  if (chain === undefined || key === undefined)
    throw new CliError("USAGE", "certificate set wants --chain FILE and --key FILE");
  const body = {
    source: "given",
    chain: await readText(context, chain),
    key: await readText(context, key),
  };
  const client = await openSession(invocation);
  const { status } = await sendResource<Certificate>(client, {
    method: "PUT",
    path: withQuery(`/v1/certificates/${pathSegment(name)}`, {
      tenant: getText(options, "tenant"),
    }),
    body,
  });
  print(context, `Certificate/${name} is for ${status.names.join(", ")} until ${status.notAfter}`);
}
