import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";

import type { Logger } from "pino";

import type { Environment } from "../host/run-agent.ts";
import { TRIAL_VARIABLE } from "./on-trial.ts";
import { hashFile, type Program, RUNNING_PROGRAM } from "./program.ts";
import { tryProgram } from "./trial.ts";
import { readUpgradeRecord, type UpgradeRecord, writeUpgradeRecord } from "./upgrade-record.ts";

export type ResumeOptions = {
  readonly program: Program | undefined;
  readonly recordPath: string;
  readonly proofPath: string;
  readonly argv: readonly string[];
  readonly environment: Environment;
  readonly logger: Logger;
  readonly signal: AbortSignal;
};

/** Goes on with an upgrade at a start of the agent, before it holds anything. `end`: the new program is installed, and
 * whoever keeps this one running starts it. Whatever fails here, a full disk for one, ends the upgrade alone. */
export async function resumeUpgrade(options: ResumeOptions): Promise<"go on" | "end"> {
  const { program, recordPath, environment, logger } = options;
  const record = readUpgradeRecord(recordPath, logger);
  const isUnderWay = record?.state === "staged" || record?.state === "trial";
  if (program === undefined || !isUnderWay || environment[TRIAL_VARIABLE] !== undefined)
    return "go on";
  try {
    return await finish({ ...options, program, record });
  } catch (error) {
    logger.error({ err: error }, "the upgrade of the agent failed: going on with this one");
    // One that is not there is not tried at the next start.
    await rm(program.fresh, { force: true });
    return "go on";
  }
}

async function finish(
  options: ResumeOptions & { readonly program: Program; readonly record: UpgradeRecord },
): Promise<"go on" | "end"> {
  const { program, record, recordPath, logger } = options;
  if (record.state === "staged" && existsSync(program.fresh))
    return (await tryProgram(options)) ? "end" : "go on";
  // The trial was cut off: by a loss of power, or right after the new file got its place.
  const isInstalled = (await hashFile(RUNNING_PROGRAM)) === record.sha256;
  const outcome: Partial<UpgradeRecord> = isInstalled
    ? { state: "installed" }
    : { state: "rolledBack", reason: "the trial of the new program was cut off" };
  await writeUpgradeRecord(recordPath, { ...record, ...outcome });
  logger.warn({ upgrade: outcome }, "an upgrade of the agent was cut off");
  return "go on";
}
