import type { PlacementExplanation } from "@strata/protocol/api/placement";

import { getResource } from "../api/resource.ts";
import { openSession, pathSegment } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getText, requireChoice } from "../options.ts";
import { formatTable, oneLine } from "../output/table.ts";

export async function run(invocation: Invocation): Promise<void> {
  const { context, options, args } = invocation;
  const [id = ""] = args;
  const format = requireChoice(
    getText(options, "output") ?? "table",
    ["table", "json"],
    "--output",
  );
  const explanation = await getResource<PlacementExplanation>(
    await openSession(invocation),
    `/v1/processes/${pathSegment(id)}/placement`,
  );
  print(context, format === "json" ? JSON.stringify(explanation, null, 2) : textOf(explanation));
}

/** For people. Nodes of the first page alone; the totals count all of them. */
function textOf({ process, placed, waits, totals, nodes }: PlacementExplanation): string {
  if (placed !== null) {
    const since = placed.at === null ? "" : ` since ${placed.at.slice(0, 19)}Z`;
    const why = placed.why === null ? "" : `: ${placed.why}`;
    return oneLine(`${process} is on ${placed.node}${since}${why}`);
  }
  const head = oneLine(`${process} is on no node: ${waits?.message ?? "nothing keeps it"}`);
  const all = Object.values(totals).reduce((sum, count) => sum + count, 0);
  if (all === 0) return head;
  const counts = Object.entries(totals).map(([code, count]) => `${code} ${count}`);
  const table = formatTable(
    ["NODE", "CODE", "WHY"],
    nodes.map(({ node, code, message }) => [node, code, message]),
  );
  const more = all - nodes.length;
  return [
    head,
    `nodes: ${counts.join(", ")}`,
    "",
    table,
    ...(more > 0 ? [`and ${more} more`] : []),
  ].join("\n");
}
