import type { JobRun } from "@strata/protocol/api/jobs";

import { sendResource } from "../api/resource.ts";
import { openSession, pathSegment, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getText } from "../options.ts";

export async function run(invocation: Invocation): Promise<void> {
  const { context, options, args } = invocation;
  const [job = "", id = ""] = args;
  const path = `/v1/jobs/${pathSegment(job)}/runs/${pathSegment(id)}/cancel`;
  const found = await sendResource<JobRun>(await openSession(invocation), {
    method: "POST",
    path: withQuery(path, { tenant: getText(options, "tenant") }),
    body: {},
  });
  print(context, `${found.id} ${found.state}`);
}
