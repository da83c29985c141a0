import type { Certificate } from "@strata/protocol/api/certificates";

import { sendResource } from "../api/resource.ts";
import { openSession, pathSegment, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { CliError } from "../errors.ts";
import { getFlag, getList, getText, type Options } from "../options.ts";

export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const [name = "", ...hosts] = args;
  const body = getFlag(options, "internal")
    ? { source: "internal", hosts }
    : { source: "acme", hosts, ...acmeFields(options) };
  const client = await openSession(invocation);
  const { status } = await sendResource<Certificate>(client, {
    method: "PUT",
    path: withQuery(`/v1/certificates/${pathSegment(name)}`, {
      tenant: getText(options, "tenant"),
    }),
    body,
  });
  print(context, `Certificate/${name} is ${status.state}`);
}

/** @throws CliError USAGE when half of an external account is given */
function acmeFields(options: Options): object {
  const [keyId, secret] = [getText(options, "keyId"), getText(options, "keySecret")];
  if ((keyId === undefined) !== (secret === undefined))
    throw new CliError("USAGE", "--key-id and --key-secret belong together");
  return {
    directory: getText(options, "directory"),
    contact: getList(options, "contact"),
    ...(keyId === undefined ? {} : { externalAccount: { keyId, secret } }),
  };
}
