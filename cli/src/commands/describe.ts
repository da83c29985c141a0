import type { Event } from "@strata/protocol/api/resources";

import { listResources } from "../api/resource.ts";
import { openSession, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getText } from "../options.ts";
import { eventLine } from "../output/event-line.ts";
import { printValue } from "../output/format.ts";
import { painter } from "../output/style.ts";
import { requireKind } from "../resources/kinds.ts";
import { getOne } from "./get.ts";

const EVENTS_ASKED = "200";
const EVENTS_SHOWN = 20;

export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const [kindName = "", name = ""] = args;
  const kind = requireKind(kindName);
  const item = await getOne(invocation, kind, name);
  await printValue(context, item, "yaml");
  const client = await openSession(invocation);
  const query = {
    subject: kind.nameOf(item),
    tenant: getText(options, "tenant"),
    limit: EVENTS_ASKED,
  };
  const all = await listResources<Event>(client, withQuery("/v1/events", query));
  // A cartridge and a subscription may have one name; the type says which of them it was.
  const events = all
    .filter(({ type }) => type.startsWith(`${kind.eventPrefix}.`))
    .slice(-EVENTS_SHOWN);
  const paint = painter(context, context.stdout);
  print(context, `\n${paint("bold", "Events")}${events.length === 0 ? ": none" : ""}`);
  for (const event of events) print(context, eventLine(event));
}
