import type { ProcessMetrics, ProcessReport } from "@strata/protocol/agent/messages";

import { formatTime } from "../clock.ts";
import type { ContainerPlace } from "../network/network.ts";
import type { ProcessSnapshot } from "./managed-process.ts";

type ReportExtras = {
  readonly place: ContainerPlace | undefined;
  readonly metrics: ProcessMetrics | undefined;
};

/** What the controller hears of a process. Pure. */
export function describeProcess(
  { record, activity, application, isRunning, isReady, complaint }: ProcessSnapshot,
  { place, metrics }: ReportExtras,
): ProcessReport {
  const { assignment, ended, restarts, lastExit, ports, run } = record;
  const isFrozen = isRunning && run?.isFrozen === true;
  const isWoken = isRunning && assignment.frozen === true && record.wokenFence === assignment.fence;
  const isSaid = isRunning && complaint !== undefined;
  const problem =
    record.problem ?? (isSaid ? { code: "NOT_READY", message: complaint } : undefined);
  return {
    processId: assignment.processId,
    assignmentId: assignment.id,
    fence: assignment.fence,
    state: describeState({ ended, activity, isRunning, hasBegun: record.begun }),
    ready: isRunning && isReady && !isFrozen && activity !== "draining",
    ...(isFrozen && { sleep: "frozen" as const }),
    ...(isWoken && { sleep: "woken" as const }),
    restarts,
    ports: ended === undefined ? ports : [],
    ...(application && { pid: application.pid }),
    ...(run?.startedAtMs !== undefined && { startedAt: formatTime(run.startedAtMs) }),
    ...(place && { address: place.address }),
    ...(place?.ipv6 && { address6: place.ipv6.address }),
    ...(lastExit && { lastExit }),
    ...(problem && { problem }),
    ...(metrics && { metrics }),
  };
}

type StateFacts = {
  readonly ended: "stopped" | "failed" | undefined;
  readonly activity: ProcessSnapshot["activity"];
  readonly isRunning: boolean;
  readonly hasBegun: boolean;
};

function describeState(facts: StateFacts): ProcessReport["state"] {
  const { ended, activity, isRunning, hasBegun } = facts;
  if (ended !== undefined) return ended;
  if (activity !== undefined) return activity;
  if (isRunning) return "running";
  // It waits for its next try: of a start, or of what it needs before the first one.
  return hasBegun ? "starting" : "pulling";
}
