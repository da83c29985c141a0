import type { AuditEntry } from "@strata/protocol/api/audit";

import { parseAnswer } from "../api/resource.ts";
import { openSession, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getText, requireChoice } from "../options.ts";
import { oneLine } from "../output/table.ts";

export async function run(invocation: Invocation): Promise<void> {
  const { context, options } = invocation;
  const format = requireChoice(
    getText(options, "output") ?? "table",
    ["table", "json"],
    "--output",
  );
  const client = await openSession(invocation);
  const path = withQuery("/v1/audit", {
    format: "ndjson",
    principal: getText(options, "principal"),
    path: getText(options, "path"),
    since: getText(options, "since"),
    tenant: getText(options, "tenant"),
  });
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of client.stream({ method: "GET", path })) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines)
      print(context, format === "json" ? line : entryLine(parseAnswer<AuditEntry>(line)));
  }
}

/** When, what came of it, who from where, and what. */
function entryLine(entry: AuditEntry): string {
  const { at, status, code, principal, address, tenant, method, path } = entry;
  const result = `${status} ${code ?? ""}`.trim().padEnd(24);
  return oneLine(
    `${at.slice(0, 19)}Z  ${result} ${principal.padEnd(16)} ${address || "-"}  ${tenant || "-"}  ${method} ${path}`,
  );
}
