import { renameSync, rmSync } from "node:fs";
import process from "node:process";

import type { Logger } from "pino";

import type { DesiredState } from "../accept-assignments.ts";
import { replaceFileDurably } from "../durable-file.ts";
import { createHaproxy } from "../ingress/haproxy.ts";
import type { AgentPaths } from "../paths.ts";
import type { Runtime } from "../runtime.ts";

/** Exit status of an agent whose node was deleted: to start it again is of no use. EX_CONFIG of sysexits.h. */
const DECOMMISSIONED_STATUS = 78;

/** The node was deleted: stops what it runs, in the time that each process has for that, and forgets whose it was. Cut
 * off, the next life goes on with it. Images, logs and volumes stay until `strata-agent purge`. */
export async function giveUpNode(options: {
  readonly paths: AgentPaths;
  readonly runtime: Runtime;
  readonly desired: DesiredState;
  readonly logger: Logger;
}): Promise<number> {
  const { paths, runtime, desired, logger } = options;
  logger.warn("an operator deleted this node: its processes are stopped");
  // SIGTERM may come in a long grace period; there is nothing left to be told.
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => process.exit(0));
  await replaceFileDurably(paths.desired, JSON.stringify({ ...desired, assignments: [] }));
  await runtime.giveUpAll();
  await createHaproxy(paths.ingress).end();
  rmSync(paths.network, { force: true });
  renameSync(paths.identity, `${paths.identity}.former`);
  logger.warn("this machine is no node any more; strata-agent purge removes what is left of it");
  return DECOMMISSIONED_STATUS;
}
