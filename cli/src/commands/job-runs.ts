import type { JobRun } from "@strata/protocol/api/jobs";

import { listResources } from "../api/resource.ts";
import { openSession, pathSegment, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getText, requireChoice } from "../options.ts";
import { formatAge } from "../output/age.ts";
import { formatTable } from "../output/table.ts";

const titles = ["RUN", "STATE", "EXIT", "FAILURES", "PROCESS", "REASON", "AGE"];

export async function run(invocation: Invocation): Promise<void> {
  const { context, options, args } = invocation;
  const [job = ""] = args;
  const format = requireChoice(
    getText(options, "output") ?? "table",
    ["table", "json"],
    "--output",
  );
  const tenant = getText(options, "tenant");
  const path = withQuery(`/v1/jobs/${pathSegment(job)}/runs`, { tenant });
  const runs = await listResources<JobRun>(await openSession(invocation), path);
  if (format === "json") return print(context, JSON.stringify(runs, null, 2));
  const now = context.now();
  const rows = runs.map((one) => [
    one.id,
    one.state,
    String(one.exit?.code ?? "-"),
    String(one.failures),
    one.processes.at(-1)?.id ?? "-",
    one.reason ?? "-",
    formatAge(one.startedAt, now),
  ]);
  print(context, formatTable(titles, rows));
}
