import { existsSync } from "node:fs";
import { link, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import type { Logger } from "pino";

import { type Environment, startAgentDaemon } from "../host/run-agent.ts";
import { TRIAL_VARIABLE } from "./on-trial.ts";
import type { Program } from "./program.ts";
import { type UpgradeRecord, writeUpgradeRecord } from "./upgrade-record.ts";

export type TrialOptions = {
  readonly program: Program;
  readonly record: UpgradeRecord;
  readonly recordPath: string;
  /** Made by the new program once the controller takes its reports. */
  readonly proofPath: string;
  /** Of this agent, for the other: `run` and what follows. */
  readonly argv: readonly string[];
  readonly environment: Environment;
  readonly logger: Logger;
  /** When this agent is told to end. */
  readonly signal: AbortSignal;
  /** The new program reports by then [60 s]. */
  readonly trialMs?: number;
};

const TRIAL_MS = 60_000;
const LOOK_MS = 100;
/** An agent ends within milliseconds: it leaves its containers alone. */
const END_MS = 20_000;

/** Has the new program do the work of this one, which holds nothing meanwhile. Only when the controller takes its
 * reports does its file replace ours; however this ends, the file that is found at the next start is one that works.
 * True when it was installed: this program shall end, and its keeper starts the new one. */
export async function tryProgram(options: TrialOptions): Promise<boolean> {
  const { program, record, recordPath, proofPath, logger } = options;
  const note = (part: Partial<UpgradeRecord>): Promise<void> =>
    writeUpgradeRecord(recordPath, { ...record, ...part });
  await note({ state: "trial" });
  await rm(proofPath, { force: true });
  const failure = await runTrial(options);
  await rm(proofPath, { force: true });
  if (failure === undefined) {
    await install(program);
    await note({ state: "installed" });
    logger.info({ file: program.file }, "the new program is installed");
    return true;
  }
  await rm(program.fresh, { force: true });
  await note({ state: "rolledBack", reason: failure });
  logger.error({ reason: failure }, "the new program is not installed: going on with this one");
  return false;
}

/** Why it failed. */
async function runTrial(options: TrialOptions): Promise<string | undefined> {
  const { program, argv, environment, signal, proofPath, trialMs = TRIAL_MS } = options;
  const daemon = startAgentDaemon(program.fresh, argv, { ...environment, [TRIAL_VARIABLE]: "1" });
  let end: string | undefined;
  void daemon.ended.then((how) => (end = how));
  try {
    for (let waitedMs = 0; waitedMs < trialMs; waitedMs += LOOK_MS) {
      if (end !== undefined) return `the new program ${end} before it had reported`;
      if (signal.aborted) return "this agent was told to end meanwhile";
      if (existsSync(proofPath)) return undefined;
      await delay(LOOK_MS);
    }
    return `the new program had not reported after ${trialMs / 1000} s`;
  } finally {
    await daemon.end(END_MS);
  }
}

/** The old program stays beside it under another name. */
async function install({ file, fresh, old }: Program): Promise<void> {
  await rm(old, { force: true });
  await link(file, old);
  await rename(fresh, file);
  await using folder = await open(dirname(file), "r");
  await folder.sync();
}
