import { getResource, listResources } from "../api/resource.ts";
import { openSession, pathSegment, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { CliError } from "../errors.ts";
import { getText } from "../options.ts";
import { parseFormat, printItems, printValue } from "../output/format.ts";
import type { Kind } from "../resources/kind.ts";
import { requireKind } from "../resources/kinds.ts";

export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const [kindName = "", name] = args;
  const kind = requireKind(kindName);
  const format = parseFormat(options);
  if (name === undefined) {
    return printItems(context, { kind, items: await listKind(invocation, kind), format });
  }
  const item = await getOne(invocation, kind, name);
  if (format === "json" || format === "yaml") return printValue(context, item, format);
  return printItems(context, { kind, items: [item], format });
}

export async function listKind(invocation: Invocation, kind: Kind): Promise<readonly object[]> {
  const client = await openSession(invocation);
  return listResources(client, withQuery(kind.path, tenantOf(invocation, kind)));
}

/** @throws RefusedError of the server's own words when there is none. */
export async function getOne(invocation: Invocation, kind: Kind, name: string): Promise<object> {
  if (!kind.isListOnly) {
    const client = await openSession(invocation);
    return getResource<object>(client, onePath(invocation, kind, name));
  }
  const found = (await listKind(invocation, kind)).find((item) => kind.nameOf(item) === name);
  if (found !== undefined) return found;
  throw new CliError("REFUSED", `there is no ${kind.kind} ${JSON.stringify(name)}`, {
    hint: `see: strata get ${kind.names[0]}`,
  });
}

export function onePath(invocation: Invocation, kind: Kind, name: string): string {
  return withQuery(`${kind.path}/${pathSegment(name)}`, tenantOf(invocation, kind));
}

function tenantOf({ options }: Invocation, kind: Kind): { readonly tenant?: string | undefined } {
  return kind.isTenanted ? { tenant: getText(options, "tenant") } : {};
}
