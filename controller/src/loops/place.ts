/** The waiting processes and the scheduler: what it decides, and how that is written down. */
import { type Packing, termsOf } from "../domain/autoscale/l2/bins.ts";
import { isSame } from "../domain/canonical.ts";
import type { PeerBook } from "../domain/peer-book.ts";
import type { Problem } from "../domain/process.ts";
import {
  schedule,
  type SchedulingOptions,
  type WaitingProcess,
  wantedOf,
} from "../domain/schedule.ts";
import type { Claim, VolumeWish } from "../domain/volumes.ts";
import { takeVolumes } from "../operations/volumes.ts";
import { type ProcessRow, updateProcess } from "../store/processes.ts";
import type { SubscriptionRow } from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import { createHoldersOf } from "./layer-holders.ts";
import { toCandidates } from "./node-load.ts";
import { findOverQuota } from "./quota-refusals.ts";
import { nameOf, type Snapshot } from "./snapshot.ts";

/** One decision: a node for the process, or the reason why there is none. */
export type Placement = { readonly row: ProcessRow; readonly tenant: string } & (
  | {
      readonly nodeId: string;
      readonly nodeName: string;
      readonly why: string;
      readonly volumes: readonly VolumeWish[];
    }
  | { readonly problem: Problem | null }
);

export type PlacementOptions = Pick<SchedulingOptions, "cpuOvercommit"> & {
  /** Who has which layers. */
  readonly peers: Pick<PeerBook, "holdersOf">;
};

/** Where the waiting processes go, and for those that find no place the reason, where it is another than before. */
export function planPlacements(
  snapshot: Snapshot,
  { cpuOvercommit, peers }: PlacementOptions,
): readonly Placement[] {
  const all = [...snapshot.processes.values()].flat();
  const rows = new Map(all.filter(isWaiting).map((row) => [row.id, row]));
  if (rows.size === 0) return [];
  const barred = findRefused(snapshot, [...rows.values()]);
  const isBarred = new Set(barred.map(({ processId }) => processId));
  const subscriptions = new Map(snapshot.subscriptions.map((one) => [one.id, one]));
  const claims = snapshot.volumes.claim(
    [...rows.values()].flatMap((row) => {
      const tenant = subscriptions.get(row.subscriptionId)?.tenant;
      return tenant === undefined || isBarred.has(row.id) ? [] : [{ row, tenant }];
    }),
  );
  const refused = [...barred, ...[...claims].flatMap(toRefused)];
  const isRefused = new Set(refused.map(({ processId }) => processId));
  const waiting = [...rows.values()].flatMap((row): readonly WaitingProcess[] => {
    const subscription = subscriptions.get(row.subscriptionId);
    if (subscription === undefined || isRefused.has(row.id)) return [];
    const process = toWaiting(snapshot, row, subscription);
    if (process === undefined) return [];
    const claim = claims.get(row.id);
    const nodeId = claim?.kind === "free" ? claim.nodeId : undefined;
    return [nodeId === undefined ? process : { ...process, nodeId }];
  });
  const { placed, deferred, unplaced } = schedule(waiting, toCandidates(snapshot), {
    cpuOvercommit,
    packingOf: snapshot.packingOf,
    holdersOf: createHoldersOf(snapshot, peers),
  });
  const processes = new Map(waiting.map((process) => [process.id, process]));
  const subjectOf = (processId: string): Pick<Placement, "row" | "tenant"> | undefined => {
    const row = rows.get(processId);
    const tenant = subscriptions.get(row?.subscriptionId ?? "")?.tenant;
    return row === undefined || tenant === undefined ? undefined : { row, tenant };
  };
  return [
    ...placed.flatMap(({ processId, nodeId, layerBytes }): readonly Placement[] => {
      const subject = subjectOf(processId);
      const process = processes.get(processId);
      if (subject === undefined || process === undefined) return [];
      const nodeName = snapshot.nodes.get(nodeId)?.name ?? nodeId;
      const why = whyThere(process, snapshot.packingOf(process.partition), layerBytes);
      const volumes = snapshot.volumes.wishesOf(subject.row);
      return [{ ...subject, nodeId, nodeName, why, volumes }];
    }),
    // Nothing is wrong with those whose turn comes when their node has started others.
    ...[
      ...refused,
      ...deferred.map((processId) => ({ processId, problem: null })),
      ...unplaced,
    ].flatMap(({ processId, problem }): readonly Placement[] => {
      const subject = subjectOf(processId);
      const isNews = subject !== undefined && !isSame(subject.row.problem, problem);
      return isNews ? [{ ...subject, problem }] : [];
    }),
  ];
}

/** The process as the scheduler sees it; undefined when its generation is not known any more. */
export function toWaiting(
  snapshot: Snapshot,
  row: ProcessRow,
  subscription: SubscriptionRow,
): WaitingProcess | undefined {
  const need = snapshot.needOf(row);
  if (need === undefined) return undefined;
  const { partition } = subscription;
  return { id: row.id, partition, subscription: nameOf(subscription), ...need };
}

/** In the words of the policy. */
function whyThere(process: WaitingProcess, packing: Packing, layerBytes: number): string {
  const { subscription, nodeId } = process;
  if (nodeId !== undefined) return "it belongs to this node";
  const { apart } = termsOf(wantedOf(process), packing);
  const node = packing.strategy === "spread" ? "the emptiest node" : "the fullest node";
  const among = [
    ...(apart.nodes === "none" ? [] : ["on the nodes"]),
    ...(apart.zones === "none" ? [] : ["in the zones"]),
  ];
  const where =
    among.length === 0 ? "" : ` ${among.join(" and ")} with the fewest of ${subscription}`;
  const layers = layerBytes === 0 ? "" : `, and it has ${layerBytes} bytes of its image`;
  return `${node}${where} that has room${layers}`;
}

type Refused = { readonly processId: string; readonly problem: Problem | null };

function toRefused([processId, claim]: readonly [string, Claim]): readonly Refused[] {
  if (claim.kind === "free") return [];
  // Its turn comes when it is known where the volume is.
  return [{ processId, problem: claim.kind === "wait" ? null : claim.problem }];
}

/** What may run nowhere, so that no room is looked for. */
function findRefused(snapshot: Snapshot, rows: readonly ProcessRow[]): readonly Refused[] {
  const overQuota = findOverQuota(snapshot);
  return rows.flatMap((row) => {
    const problem = snapshot.refusalOf(row) ?? overQuota.get(row.id);
    return problem === undefined ? [] : [{ processId: row.id, problem }];
  });
}

/** `startDeadlineMs` from now on, a process that has not begun to start must not start any more. */
export function applyPlacement(
  unit: Unit,
  placement: Placement,
  { startDeadlineMs }: { readonly startDeadlineMs: number },
): void {
  const { row, tenant } = placement;
  if ("problem" in placement) {
    updateProcess(unit.sql, row.id, { problem: placement.problem });
    return;
  }
  unit.noteWait({ what: "placement", ms: unit.nowMs - Date.parse(row.createdAt) });
  const { nodeId, nodeName, why, volumes } = placement;
  updateProcess(unit.sql, row.id, {
    nodeId,
    assignmentId: `assignment-${unit.newId()}`,
    fence: row.fence + 1,
    startDeadline: new Date(unit.nowMs + startDeadlineMs).toISOString(),
    problem: null,
    decidedRevision: unit.touchNode(nodeId),
  });
  if (volumes.length > 0) takeVolumes(unit, { tenant, processId: row.id, nodeId, wishes: volumes });
  unit.emit({
    type: "process.placed",
    tenant,
    subject: row.id,
    message: `process ${row.id} goes to node ${nodeName}: ${why}`,
    data: { nodeId, generation: row.generation, why },
  });
}

function isWaiting({ nodeId, desired }: ProcessRow): boolean {
  return nodeId === null && desired === "running";
}
