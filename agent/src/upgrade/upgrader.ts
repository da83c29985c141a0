import type { UpgradeOrder, UpgradeReport } from "@strata/protocol/agent/upgrade";
import type { Logger } from "pino";
import type { Dispatcher } from "undici";

import { AgentError } from "../errors.ts";
import type { Environment } from "../host/run-agent.ts";
import { fetchProgram } from "./fetch-program.ts";
import { hashFile, type Program, RUNNING_PROGRAM } from "./program.ts";
import { proveProgram } from "./prove-program.ts";
import { type UpgradeRecord, writeUpgradeRecord } from "./upgrade-record.ts";

export type UpgraderOptions = {
  /** Undefined where no single file is the program. */
  readonly program: Program | undefined;
  readonly controllerUrl: string;
  readonly dispatcher: Dispatcher;
  readonly environment: Environment;
  readonly logger: Logger;
  /** How the last upgrade ended. */
  readonly record: UpgradeRecord | undefined;
  readonly recordPath: string;
  /** There is something new to report. */
  readonly onChange: () => void;
  /** The new program is ready to be tried: this one shall end and be started again. */
  readonly onStaged: () => void;
};

/** Prepares another version of this agent while this one works. */
export type Upgrader = {
  /** Safe to repeat: an order is carried out once. */
  readonly order: (order: UpgradeOrder) => void;
  readonly report: () => UpgradeReport | undefined;
};

export function createUpgrader(options: UpgraderOptions): Upgrader {
  const { logger, onChange, onStaged } = options;
  let record = options.record;
  let underWay: string | undefined;

  const prepare = async (order: UpgradeOrder): Promise<void> => {
    const next = await stage(options, order);
    await writeUpgradeRecord(options.recordPath, next);
    record = next;
    logger.info({ upgrade: next }, "upgrade of the agent");
    if (next.state === "staged") onStaged();
  };
  return {
    order: (order) => {
      if (underWay !== undefined || record?.id === order.id) return;
      underWay = order.id;
      onChange();
      prepare(order)
        .catch((error: unknown) => {
          // In memory alone, then: a disk that takes no record takes no program either.
          record = describeRefusal(order, error);
          logger.error({ err: error }, "the upgrade could not be written down");
        })
        .finally(() => {
          underWay = undefined;
          onChange();
        });
    },
    report: () =>
      underWay === undefined ? describeRecord(record) : { id: underWay, state: "working" },
  };
}

/** Never throws. */
async function stage(options: UpgraderOptions, order: UpgradeOrder): Promise<UpgradeRecord> {
  const { program, environment, logger } = options;
  const { id, sha256 } = order;
  try {
    if (program === undefined) {
      throw new AgentError("UPGRADE_REFUSED", "this agent runs from its source, not from one file");
    }
    if ((await hashFile(RUNNING_PROGRAM)) === sha256)
      return { version: 1, id, sha256, state: "installed" };
    await fetchProgram({ ...options, sha256, path: program.fresh });
    await proveProgram(program.fresh, environment);
    return { version: 1, id, sha256, state: "staged" };
  } catch (error) {
    logger.error({ err: error }, "the upgrade is refused");
    return describeRefusal(order, error);
  }
}

function describeRefusal({ id, sha256 }: UpgradeOrder, error: unknown): UpgradeRecord {
  const reason = error instanceof Error ? error.message : String(error);
  return { version: 1, id, sha256, state: "refused", reason: reason.slice(0, 2000) };
}

function describeRecord(record: UpgradeRecord | undefined): UpgradeReport | undefined {
  if (record === undefined) return undefined;
  const { id, state, reason } = record;
  const told = state === "staged" || state === "trial" ? "working" : state;
  return { id, state: told, ...(reason !== undefined && { reason }) };
}
