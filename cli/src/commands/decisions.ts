import type { Decision } from "@strata/protocol/api/decisions";

import { getResource } from "../api/resource.ts";
import { openSession, pathSegment, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getCount, getFlag, getText, requireChoice } from "../options.ts";
import { oneLine } from "../output/table.ts";

const LIMIT_DEFAULT = 20;
const LIMIT_MAX = 1000;

type Page = { readonly items: readonly Decision[] };

export async function run(invocation: Invocation): Promise<void> {
  const { context, options, args } = invocation;
  const [alias = ""] = args;
  const format = requireChoice(
    getText(options, "output") ?? "table",
    ["table", "json"],
    "--output",
  );
  const limit = Math.max(1, Math.min(getCount(options, "tail") ?? LIMIT_DEFAULT, LIMIT_MAX));
  const path = withQuery(`/v1/subscriptions/${pathSegment(alias)}/decisions`, {
    limit: String(limit),
    changes: getFlag(options, "changes") ? "true" : undefined,
    inputs: getFlag(options, "inputs") ? "true" : undefined,
    tenant: getText(options, "tenant"),
  });
  const { items } = await getResource<Page>(await openSession(invocation), path);
  // As with events, what has just happened stands at the prompt.
  for (const decision of items.toReversed())
    print(context, format === "json" ? JSON.stringify(decision) : decisionLine(decision));
}

/** One decision in one line: when, what became of it, and why. */
function decisionLine({ at, from, desired, acted, reason }: Decision): string {
  const outcome = from === desired || acted ? "" : " (dry run)";
  return oneLine(`${at.slice(0, 19)}Z  ${reason}${outcome}`);
}
