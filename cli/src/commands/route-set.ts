import type { Route } from "@strata/protocol/api/routes";

import { sendResource } from "../api/resource.ts";
import { openSession, pathSegment, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { CliError } from "../errors.ts";
import { getCount, getFlag, getList, getText, type Options } from "../options.ts";

export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const [name = ""] = args;
  const body = readRoute(options);
  const client = await openSession(invocation);
  const path = withQuery(`/v1/routes/${pathSegment(name)}`, {
    tenant: getText(options, "tenant"),
  });
  const { revision, status } = await sendResource<Route>(client, { method: "PUT", path, body });
  const notice = status.message === null ? "" : `: ${status.message}`;
  print(context, `Route/${name} is at revision ${revision}${notice}`);
}

/** @throws CliError USAGE */
function readRoute(options: Options): object {
  const backends = getList(options, "to").map(parseBackend);
  if (backends.length === 0)
    throw new CliError("USAGE", "a route leads somewhere", { hint: "add --to ALIAS" });
  return {
    hosts: getList(options, "host"),
    path: getText(options, "path"),
    tcpPort: getCount(options, "tcpPort"),
    sticky: getFlag(options, "sticky"),
    redirectToHttps: getFlag(options, "redirectToHttps"),
    backends,
  };
}

/** @throws CliError USAGE */
function parseBackend(text: string): object {
  const [, subscription, port, weight] =
    /^([a-z0-9-]+)(?::([a-z0-9-]+))?(?:=(\d{1,3}))?$/.exec(text) ?? [];
  if (subscription !== undefined)
    return { subscription, port, ...(weight === undefined ? {} : { weight: Number(weight) }) };
  throw new CliError("USAGE", `--to wants ALIAS, ALIAS:PORT or ALIAS:PORT=WEIGHT, not ${text}`);
}
