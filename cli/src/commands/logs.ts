import { findProcesses } from "../api/find-process.ts";
import { openSession, pathSegment } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { CliError } from "../errors.ts";
import { getCount, getFlag, getText } from "../options.ts";
import { readLog } from "../stream/follow-log.ts";
import { copyLog } from "../stream/log.ts";
import { isSearch, printFound } from "../stream/search-logs.ts";

/** More at a time are for a log collector, not for a person. */
const FOLLOWED_MAX = 50;

export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const [name = ""] = args;
  const searches = isSearch(invocation);
  const client = await openSession(invocation);
  const processes = await findProcesses(client, { name, tenant: getText(options, "tenant") });
  if (searches) return await printFound(client, invocation, processes);
  if (processes.length > FOLLOWED_MAX) {
    throw new CliError(
      "USAGE",
      `${name} has ${processes.length} processes; ${FOLLOWED_MAX} at most`,
      {
        hint: "name one of them: strata get processes",
      },
    );
  }
  const query = {
    follow: getFlag(options, "follow") ? "true" : undefined,
    tail: getCount(options, "tail")?.toString(),
  };
  const width = Math.max(...processes.map(({ id }) => id.length));
  await Promise.all(
    processes.map(({ id }, index) => {
      const path = `/v1/processes/${pathSegment(id)}/logs`;
      const log = readLog(client, context, { path, query });
      const label = processes.length === 1 ? undefined : { text: id.padEnd(width), index };
      return copyLog(log, context, label);
    }),
  );
}
