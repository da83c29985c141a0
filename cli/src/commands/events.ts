import type { Event } from "@strata/protocol/api/resources";

import { followEvents } from "../api/follow-events.ts";
import { listResources } from "../api/resource.ts";
import { openSession, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getCount, getFlag, getText, requireChoice } from "../options.ts";
import { eventLine } from "../output/event-line.ts";

const LIMIT_DEFAULT = 50;
const LIMIT_MAX = 1000;

export async function run(invocation: Invocation): Promise<void> {
  const { context, options } = invocation;
  const format = requireChoice(
    getText(options, "output") ?? "table",
    ["table", "json"],
    "--output",
  );
  const show = (event: Event): void =>
    print(context, format === "json" ? JSON.stringify(event) : eventLine(event));
  const filter = { subject: getText(options, "subject"), tenant: getText(options, "tenant") };
  const client = await openSession(invocation);
  const limit = Math.min(getCount(options, "tail") ?? LIMIT_DEFAULT, LIMIT_MAX);
  const path = withQuery("/v1/events", { ...filter, limit: String(Math.max(limit, 1)) });
  const last = await listResources<Event>(client, path);
  if (limit > 0) for (const event of last) show(event);
  if (!getFlag(options, "follow")) return;
  const from = last.at(-1)?.id ?? 0;
  const follow = withQuery("/v1/events", filter);
  for await (const event of followEvents(client, { path: follow, from, context })) show(event);
}
