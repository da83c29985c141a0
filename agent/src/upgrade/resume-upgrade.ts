import { existsSync } from "node:fs";

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
 * whoever keeps this one running starts it. */
export async function resumeUpgrade(options: ResumeOptions): Promise<"go on" | "end"> {
  const { program, recordPath, environment, logger } = options;
  const record = readRecord(options);
  if (program === undefined || record === undefined || environment[TRIAL_VARIABLE] !== undefined)
    return "go on";
  const isTried = record.state === "staged" && existsSync(program.fresh);
  if (isTried) return (await tryProgram({ ...options, program, record })) ? "end" : "go on";
  if (record.state !== "staged" && record.state !== "trial") return "go on";
  // The trial was cut off: by a loss of power, or right after the new file got its place.
  const isInstalled = (await hashFile(RUNNING_PROGRAM)) === record.sha256;
  const outcome: Partial<UpgradeRecord> = isInstalled
    ? { state: "installed" }
    : { state: "rolledBack", reason: "the trial of the new program was cut off" };
  await writeUpgradeRecord(recordPath, { ...record, ...outcome });
  logger.warn({ upgrade: outcome }, "an upgrade of the agent was cut off");
  return "go on";
}

/** A damaged record ends no upgrade but its own. */
function readRecord({ recordPath, logger }: ResumeOptions): UpgradeRecord | undefined {
  try {
    return readUpgradeRecord(recordPath);
  } catch (error) {
    logger.error({ err: error }, "the record of the last upgrade is damaged");
    return undefined;
  }
}
