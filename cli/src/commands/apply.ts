import type { ApplyResult } from "@strata/protocol/api/resources";

import { parseAnswer } from "../api/resource.ts";
import { openSession, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { type Context, print } from "../context.ts";
import { CliError } from "../errors.ts";
import { getFlag, getList, getText } from "../options.ts";
import { painter } from "../output/style.ts";
import { readText } from "../read-text.ts";

export async function run(invocation: Invocation): Promise<void> {
  const { context, options } = invocation;
  const files = getList(options, "file");
  if (files.length === 0) {
    throw new CliError("USAGE", "apply wants a file", {
      hint: "add -f FILE, or -f - for standard input",
    });
  }
  const isDryRun = getFlag(options, "dryRun");
  const documents = await Promise.all(files.map((file) => readText(context, file)));
  const client = await openSession(invocation);
  const query = { dryRun: isDryRun ? "true" : undefined, tenant: getText(options, "tenant") };
  const { body } = await client.send({
    method: "POST",
    path: withQuery("/v1/apply", query),
    headers: { "content-type": "application/yaml" },
    // Several files are one change: all of it or nothing.
    body: documents.join("\n---\n"),
  });
  show(context, parseAnswer<ApplyResult>(body), isDryRun);
}

function show(context: Context, { results }: ApplyResult, isDryRun: boolean): void {
  const paint = painter(context, context.stdout);
  const colors = { created: "green", updated: "yellow", unchanged: "dim" } as const;
  for (const { kind, name, action, changes } of results) {
    const done = isDryRun && action !== "unchanged" ? `would be ${action}` : action;
    print(context, `${kind}/${name} ${paint(colors[action], done)}`);
    for (const change of changes) print(context, `  ${change}`);
  }
}
