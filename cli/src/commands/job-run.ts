import type { JobRun } from "@strata/protocol/api/jobs";

import { getResource, sendResource } from "../api/resource.ts";
import { openSession, pathSegment, withQuery } from "../api/session.ts";
import { waitUntil } from "../api/wait.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { exitCodes } from "../errors.ts";
import { getFlag, getText } from "../options.ts";

export async function run(invocation: Invocation): Promise<number> {
  const { context, options, args: all } = invocation;
  const [job = "", ...args] = all;
  const tenant = getText(options, "tenant");
  const client = await openSession(invocation);
  const base = `/v1/jobs/${pathSegment(job)}`;
  let found = await sendResource<JobRun>(client, {
    method: "POST",
    path: withQuery(`${base}/run`, { tenant }),
    body: args.length === 0 ? {} : { args },
  });
  if (!getFlag(options, "wait")) {
    print(context, `${found.id} begins`);
    return exitCodes.ok;
  }
  const path = withQuery(`${base}/runs/${pathSegment(found.id)}`, { tenant });
  await waitUntil(async () => {
    found = await getResource<JobRun>(client, path);
    return found.state === "running" ? (found.reason ?? "it still runs") : undefined;
  }, invocation);
  const why = found.reason === null ? "" : `: ${found.reason}`;
  print(context, `${found.id} ${found.state}${why}`);
  return found.state === "succeeded" ? exitCodes.ok : exitCodes.refused;
}
