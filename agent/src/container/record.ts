import { existsSync, readdirSync } from "node:fs";

import { Assignment, Exit, Port, ProcessSpec } from "@strata/protocol/agent/messages";
import type { Logger } from "pino";
import { z } from "zod";

import { readStateFile } from "../durable-file.ts";
import { type AgentPaths, processPaths } from "../paths.ts";
import { ProbePlan } from "./probe-plan.ts";

const Problem = z.object({ code: z.string(), message: z.string() });
const Identity = z.object({ pid: z.int().positive(), startTicks: z.int().nonnegative() });

/** One life of a container, from just before its supervisor is started. */
const RunRecord = z.object({
  /** Of the kernel; after a reboot nothing of the run is left. */
  bootId: z.string(),
  stopSignal: z.int().positive(),
  /** The application is PID 1 of its container. */
  isSystem: z.boolean().optional(),
  /** What it was started with. */
  spec: ProcessSpec,
  /** Left out by agents that knew the probe of the assignment alone. */
  probes: ProbePlan.optional(),
  /** Past its startup probe. */
  isStarted: z.boolean().optional(),
  /** It was ready, and was frozen because its subscription sleeps. */
  isFrozen: z.boolean().optional(),
  /** A probe says that it is to be ended, and it is not yet. */
  failing: Problem.optional(),
  /** Known once the application runs. */
  startedAtMs: z.number().optional(),
  application: Identity.optional(),
  /** Its grace period was over, and we killed it. */
  isKilled: z.boolean().optional(),
  /** Known once it has ended; then all that is left to do is to clear it away. */
  exit: Exit.optional(),
});

/** What the agent keeps of a process on disk, so that another life of the agent can go on with it. */
export const ProcessRecord = z.object({
  version: z.literal(1),
  assignment: Assignment,
  /** Decides ids and address; given back when the process has ended for good. */
  slot: z.int().nonnegative().optional(),
  ports: z.array(Port.required({ hostPort: true })),
  /** Runs that have ended and were followed by another. */
  restarts: z.int().nonnegative(),
  crashes: z.object({ failures: z.int().nonnegative() }),
  /** A request woke it although the assignment of this fence wants it frozen. */
  wokenFence: z.int().nonnegative().optional(),
  /** A container was started for this assignment. */
  begun: z.boolean(),
  run: RunRecord.optional(),
  lastExit: Exit.optional(),
  /** Set when it has ended for good; nothing but a new assignment starts it again. */
  ended: z.enum(["stopped", "failed"]).optional(),
  problem: Problem.optional(),
});
export type ProcessRecord = z.infer<typeof ProcessRecord>;

export function newRecord(assignment: Assignment): ProcessRecord {
  return { version: 1, assignment, ports: [], restarts: 0, crashes: { failures: 0 }, begun: false };
}

/** The records of all processes. A damaged one is left out: a kill never damages one, and after a loss of power nothing
 * of its process is left running. */
export function listRecords(paths: AgentPaths, logger: Logger): readonly ProcessRecord[] {
  if (!existsSync(paths.processes)) return [];
  return readdirSync(paths.processes).flatMap((processId) => {
    const path = processPaths(paths, processId).record;
    try {
      return readStateFile(path, ProcessRecord) ?? [];
    } catch (error) {
      logger.error({ err: error, path }, "a record of a process is damaged");
      return [];
    }
  });
}
