/** Lines of all processes of a subscription that have a text or were written in a time. */
import type { LogSearchAnswer } from "@strata/protocol/api/logs";
import type { Process } from "@strata/protocol/api/resources";

import type { ApiClient } from "../api/client.ts";
import { getResource } from "../api/resource.ts";
import { pathSegment, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { type Context, print, say } from "../context.ts";
import { CliError } from "../errors.ts";
import { getCount, getFlag, getText, requireChoice } from "../options.ts";
import { painter } from "../output/style.ts";
import { colors, withoutControls } from "./log.ts";

const searchOptions = ["since", "until", "grep"] as const;

/** Whether the command line asks for a search, rather than for a log as it is.
 * @throws CliError USAGE for what does not go together */
export function isSearch({ options }: Pick<Invocation, "options">): boolean {
  const asked = searchOptions.filter((name) => getText(options, name) !== undefined);
  const [first] = asked;
  if (first !== undefined && getFlag(options, "follow"))
    throw new CliError("USAGE", `--follow does not go with --${first}`, {
      hint: "a search ends; follow the log in a second terminal: strata logs ALIAS --follow",
    });
  for (const name of ["regex", "ignoreCase"])
    if (getFlag(options, name) && getText(options, "grep") === undefined)
      throw new CliError("USAGE", "there is nothing to look for", { hint: "add --grep TEXT" });
  return first !== undefined;
}

/** Prints what is found, oldest first, and names the processes that did not answer. */
export async function printFound(
  client: ApiClient,
  { context, args, options }: Invocation,
  processes: readonly Process[],
): Promise<void> {
  const format = requireChoice(getText(options, "output") ?? "text", ["text", "json"], "--output");
  const [name] = args;
  const [first] = processes;
  if (first === undefined) return;
  const one = first.id === name ? name : undefined;
  const path = withQuery(`/v1/subscriptions/${pathSegment(first.subscription)}/logs`, {
    tenant: getText(options, "tenant") ?? (one === undefined ? undefined : first.tenant),
    since: getText(options, "since"),
    until: getText(options, "until"),
    grep: getText(options, "grep"),
    regex: getFlag(options, "regex") ? "true" : undefined,
    ignoreCase: getFlag(options, "ignoreCase") ? "true" : undefined,
    tail: getCount(options, "tail")?.toString(),
    process: one,
  });
  const answer = await getResource<LogSearchAnswer>(client, path);
  const show = format === "json" ? JSON.stringify : createLine(context, answer);
  for (const item of answer.items) print(context, show(item));
  for (const { process, node, code, message } of answer.missing)
    say(context, `${process}${node === null ? "" : ` on ${node}`}: ${message} (${code})`);
  if (answer.truncated) say(context, "there are older lines: raise --tail, or take a shorter time");
}

/** The process is left out where there is one alone. */
function createLine(
  context: Context,
  { items }: LogSearchAnswer,
): (item: LogSearchAnswer["items"][number]) => string {
  const ids = [...new Set(items.map(({ process }) => process))].toSorted();
  const width = Math.max(...ids.map(({ length }) => length));
  const paint = painter(context, context.stdout);
  const isTerminal = context.stdout.isTTY === true;
  return ({ at, process, text }) => {
    const color = colors[ids.indexOf(process) % colors.length] ?? "cyan";
    const label = ids.length === 1 ? "" : `${paint(color, process.padEnd(width))} | `;
    return `${at.slice(0, 19)}Z ${label}${isTerminal ? withoutControls(text) : text}`;
  };
}
