/** How a run is ended, and how it ended. */
import { statSync } from "node:fs";

import type { Exit } from "@strata/protocol/agent/messages";

import { wasKilledForMemory } from "../host/kernel-log.ts";
import { getExecutable, type ProcessIdentity } from "../host/process-table.ts";
import type { ProcessPaths } from "../paths.ts";
import { describeExit } from "./exit.ts";
import { readUptimeMs } from "./metrics.ts";
import type { ProcessServices } from "./process-services.ts";
import type { RecordKeeper } from "./record-keeper.ts";
import type { ProcessRecord } from "./record.ts";
import { readExitCode } from "./supervisor.ts";
import { haltSignal } from "./system-container.ts";

export type RunEndOptions = {
  readonly services: ProcessServices;
  readonly keeper: RecordKeeper;
  readonly paths: ProcessPaths;
};

const SIGTERM = 15;

/** The signal that the application takes for a wish to end; an init has its own. */
export function chooseStopSignal(
  { run }: ProcessRecord,
  application: ProcessIdentity | undefined,
): number {
  const wanted = run?.stopSignal ?? SIGTERM;
  if (run?.isSystem !== true || application === undefined) return wanted;
  return haltSignal(wanted, getExecutable(application.pid));
}

/** The grace period with which the container was started, for what replaces it may need another; a wish to stop, as it is
 * by now, may shorten it. Pure. */
export function chooseGraceMs({ run, assignment }: ProcessRecord): number {
  const { stopGraceMs } = run?.spec ?? assignment.spec;
  const isStop = assignment.desired === "stopped";
  return isStop ? Math.min(stopGraceMs, assignment.spec.stopGraceMs) : stopGraceMs;
}

/** What is about to be killed is told as killed, whichever life of the agent tells it. */
export function noteKill(keeper: RecordKeeper): void {
  const { run } = keeper.record;
  if (run !== undefined) keeper.save({ run: { ...run, isKilled: true } });
}

/** How the run ended. Noted before anything of it is removed: another life of the agent may have to tell. */
export function noteExit(options: RunEndOptions): Exit {
  const { services, keeper, paths } = options;
  const { run } = keeper.record;
  if (run?.exit !== undefined) return run.exit;
  const exit = {
    ...describeExit({
      code: readExitCode(paths),
      wasOutOfMemory: () => wasOutOfMemory(options),
      wasKilled: run?.isKilled === true,
      atMs: services.start.clock(),
    }),
    ...(run?.failing && { problem: run.failing }),
  };
  if (run !== undefined) keeper.save({ run: { ...run, exit } });
  return exit;
}

/** A control group tells that the kernel has killed something in it; the log of the kernel tells whom. */
function wasOutOfMemory({ services, keeper, paths }: RunEndOptions): boolean {
  const { cgroups, clock } = services.start;
  const { assignment, run } = keeper.record;
  if (!cgroups.wasOutOfMemory(assignment.processId)) return false;
  if (run?.application === undefined) return true;
  const notedAtMs = statSync(paths.exit, { throwIfNoEntry: false })?.mtimeMs ?? clock();
  const endedAtMs = readUptimeMs() - Math.max(0, clock() - notedAtMs);
  return wasKilledForMemory(run.application.pid, endedAtMs) !== false;
}
