import type { Report } from "@strata/protocol/agent/messages";

import { isSame } from "../domain/canonical.ts";
import { planReport, type ReportedFields, type ReportEffect } from "../domain/report.ts";
import { isUnheard, judgeUpgrade } from "../domain/upgrade.ts";
import { getNode, type NodeRow, updateNode } from "../store/nodes.ts";
import {
  deleteProcess,
  listViewsOfNode,
  type ProcessRow,
  type ProcessView,
  updateProcess,
} from "../store/processes.ts";
import type { Store, Unit } from "../store/unit.ts";
import { recordStart } from "./autoscale.ts";
import { setUpgrade } from "./upgrades.ts";
import { noteFirstReport } from "./vms.ts";

export type ReportInput = {
  readonly nodeId: string;
  readonly report: Report;
  readonly nowMs: number;
  readonly startDeadlineMs: number;
};

export type ReportWrites = {
  /** Whether the picture of the node's processes changes. */
  readonly isNews: boolean;
  /** How many processes change, and 1 for the node. */
  readonly size: number;
  /** Before anything else is written that concerns the node. */
  readonly apply: (unit: Unit) => void;
};

/** What a node says about itself, as far as it is news; undefined when there is nothing to write. */
export function planReportWrites(store: Store, input: ReportInput): ReportWrites | undefined {
  const { nodeId, report, nowMs, startDeadlineMs } = input;
  const node = getNode(store.sql, nodeId);
  if (node === undefined) return undefined;
  const known = new Map(listViewsOfNode(store.sql, nodeId).map((view) => [view.process.id, view]));
  const effects = planReport(
    [...known.values()].map(({ process }) => process),
    report,
  );
  const facts = nodeChanges(node, report);
  const { lastSeenAt } = node;
  // Later ones are written for many nodes at once: who is silent is decided from memory.
  const isFirst = lastSeenAt === null;
  const upgrade = judgeUpgrade(node.upgrade, report, nowMs);
  const unheard = isUnheard(node, report);
  if (effects.length === 0 && facts === undefined && !isFirst && !unheard && upgrade === undefined)
    return undefined;
  const apply = (unit: Unit): void => {
    updateNode(unit.sql, nodeId, { ...facts, lastSeenAt: unit.now });
    if (isFirst) noteFirstReport(unit, node);
    if (upgrade !== undefined) setUpgrade(unit, node, upgrade);
    if (unheard) unit.touchNode(nodeId);
    if (node.presence === "away") {
      unit.emit({
        type: "node.returned",
        subject: node.name,
        message: `node ${node.name} answers again`,
        data: { nodeId },
      });
    }
    for (const effect of effects)
      applyEffect(unit, { effect, view: known.get(effect.processId), startDeadlineMs });
  };
  const isNews = effects.length > 0 || facts !== undefined || isFirst;
  return { isNews, size: effects.length + 1, apply };
}

function nodeChanges(node: NodeRow, report: Report): Partial<NodeRow> | undefined {
  const { agentVersion, capacity } = report;
  const same =
    node.presence === "present" &&
    node.agentVersion === agentVersion &&
    isSame(node.capacity, capacity);
  return same ? undefined : { presence: "present", awaySince: null, agentVersion, capacity };
}

function applyEffect(
  unit: Unit,
  {
    effect,
    view,
    startDeadlineMs,
  }: {
    readonly effect: ReportEffect;
    readonly view: ProcessView | undefined;
    readonly startDeadlineMs: number;
  },
): void {
  if (view === undefined || view.process.nodeId === null) return;
  const {
    process: row,
    spec: { tenant },
  } = view;
  switch (effect.kind) {
    case "update": {
      const isFirst = effect.fields.ready && row.firstReadyAt === null;
      updateProcess(unit.sql, row.id, {
        ...effect.fields,
        ...(effect.fields.state === row.state ? {} : { stateAt: unit.now }),
        ...(isFirst ? { firstReadyAt: unit.now } : {}),
      });
      if (isFirst) noteFirstReady(unit, row, startDeadlineMs);
      announce(unit, { row, fields: effect.fields, tenant });
      return;
    }
    case "overtake":
      updateProcess(unit.sql, row.id, {
        fence: effect.fence,
        decidedRevision: unit.touchNode(view.process.nodeId),
      });
      return;
    case "gone":
      deleteProcess(unit.sql, row.id);
      unit.touchNode(view.process.nodeId);
      return;
    default:
      effect satisfies never;
  }
}

/** How long starts take is what level 1 looks ahead for. Measured from the placement, which a process without room
 * waits for. */
function noteFirstReady(unit: Unit, row: ProcessRow, startDeadlineMs: number): void {
  if (row.startDeadline === null) return;
  const placedAt = Date.parse(row.startDeadline) - startDeadlineMs;
  recordStart(unit, row, unit.nowMs - placedAt);
  unit.noteWait({ what: "start", ms: unit.nowMs - placedAt });
}

/** One event for each change of state, and one when a running process becomes ready, stops being it, or was started again
 * for what its probes said. */
function announce(
  unit: Unit,
  {
    row,
    fields,
    tenant,
  }: { readonly row: ProcessRow; readonly fields: ReportedFields; readonly tenant: string },
): void {
  const { state, ready, lastExit, problem } = fields;
  const turned = state === "running" && ready !== row.ready;
  const exit = lastExit === null || isSame(lastExit, row.lastExit) ? undefined : lastExit;
  // Its probes had it ended, and it ran again before anything was said of that.
  const cause = state === row.state ? exit?.problem : undefined;
  if (state === row.state && !turned && cause === undefined) return;
  const what = nameChange({ state, ready, turned, restarted: cause !== undefined }, row);
  const told = cause ?? problem;
  const ended = exit && `it ended with code ${exit.code} (${exit.reason})`;
  const why = told?.message ?? ended;
  unit.emit({
    type: `process.${what}`,
    tenant,
    subject: row.id,
    message: `process ${row.id} is ${what}${why === undefined ? "" : `: ${why}`}`,
    data: {
      nodeId: row.nodeId,
      generation: row.generation,
      ...(exit === undefined ? {} : { exit }),
      ...(told === null ? {} : { code: told.code }),
    },
  });
}

type Change = {
  readonly state: ProcessRow["state"];
  readonly ready: boolean;
  readonly turned: boolean;
  readonly restarted: boolean;
};

function nameChange({ state, ready, turned, restarted }: Change, row: ProcessRow): string {
  if (restarted) return "restarted";
  if (!turned) return state;
  if (ready) return "ready";
  if (row.freeze === "ordered" && row.state === state) return "frozen";
  return row.state === state ? "unready" : state;
}
