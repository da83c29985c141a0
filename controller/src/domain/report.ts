/** What a report of a node changes in what the controller knows of its processes. Pure. */
import type { Exit, Port, ProcessReport, Report } from "@strata/protocol/agent/messages";
import { canTransition, type ProcessState } from "@strata/protocol/agent/process-state";

import { isSame } from "./canonical.ts";
import type { Problem } from "./process.ts";

/** What the controller knows; the fields of a report have the report's meaning. */
export type KnownProcess = {
  readonly id: string;
  readonly assignmentId: string | null;
  readonly fence: number;
  readonly desired: "running" | "stopped";
  readonly decidedRevision: number;
  readonly state: ProcessState;
  readonly ready: boolean;
  readonly pid: number | null;
  readonly restarts: number;
  readonly address: string | null;
  readonly address6: string | null;
  readonly ports: readonly Port[];
  readonly startedAt: string | null;
  readonly lastExit: Exit | null;
  readonly problem: Problem | null;
};

/** What a report may change. */
const reportedNames = [
  "state",
  "ready",
  "pid",
  "restarts",
  "address",
  "address6",
  "ports",
  "startedAt",
  "lastExit",
  "problem",
] as const;

export type ReportedFields = Pick<KnownProcess, (typeof reportedNames)[number]>;

export type ReportEffect =
  | { readonly kind: "update"; readonly processId: string; readonly fields: ReportedFields }
  /** The agent has seen a higher fence than we remember, so our state was restored from an older one: overtake it. */
  | { readonly kind: "overtake"; readonly processId: string; readonly fence: number }
  /** It was to be stopped, and the node, knowing that, holds it no longer. */
  | { readonly kind: "gone"; readonly processId: string };

/** At most one effect for each process. A report of another assignment, of an older fence, or of a state that cannot
 * follow the known one is late or repeated, and changes nothing. */
export function planReport(
  known: readonly KnownProcess[],
  report: Pick<Report, "revision" | "processes">,
): readonly ReportEffect[] {
  const reported = new Map(report.processes.map((process) => [process.processId, process]));
  return known.flatMap((process): readonly ReportEffect[] => {
    const seen = reported.get(process.id);
    if (seen !== undefined) return judge(process, seen);
    const knows = report.revision >= process.decidedRevision;
    return knows && process.desired === "stopped" && process.assignmentId !== null
      ? [{ kind: "gone", processId: process.id }]
      : [];
  });
}

function judge(process: KnownProcess, seen: ProcessReport): readonly ReportEffect[] {
  if (seen.assignmentId !== process.assignmentId || seen.fence < process.fence) return [];
  if (seen.fence > process.fence)
    return [{ kind: "overtake", processId: process.id, fence: seen.fence + 1 }];
  // The node may not yet have begun to stop it; the wish stands and is what people want to see.
  const state = process.desired === "stopped" && seen.state === "running" ? "draining" : seen.state;
  if (!canTransition(process.state, state)) return [];
  const fields = reportedFields(seen, state);
  const changed = reportedNames.some((name) => !isSame(fields[name], process[name]));
  return changed ? [{ kind: "update", processId: process.id, fields }] : [];
}

function reportedFields(seen: ProcessReport, state: ProcessState): ReportedFields {
  return {
    state,
    ready: seen.ready && (state === "running" || state === "draining"),
    pid: seen.pid ?? null,
    restarts: seen.restarts,
    address: seen.address ?? null,
    address6: seen.address6 ?? null,
    ports: seen.ports,
    startedAt: seen.startedAt ?? null,
    lastExit: seen.lastExit ?? null,
    problem: seen.problem ?? null,
  };
}

/** Tells late and repeated reports from new ones: by number within one life of the agent, and by that life itself. */
export type ReportOrder = {
  readonly isNew: (nodeId: string, report: Pick<Report, "bootId" | "sequence">) => boolean;
  /** For a node that is gone. */
  readonly forget: (nodeId: string) => void;
};

const LIVES_REMEMBERED = 8;

export function createReportOrder(): ReportOrder {
  const lives = new Map<string, { bootId: string; sequence: number }[]>();
  return {
    isNew: (nodeId, { bootId, sequence }) => {
      const known = lives.get(nodeId) ?? [];
      const present = known[0];
      if (present?.bootId === bootId) {
        if (sequence <= present.sequence) return false;
        present.sequence = sequence;
        return true;
      }
      if (known.some((life) => life.bootId === bootId)) return false;
      lives.set(nodeId, [{ bootId, sequence }, ...known].slice(0, LIVES_REMEMBERED));
      return true;
    },
    forget: (nodeId) => void lives.delete(nodeId),
  };
}
