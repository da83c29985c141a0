/** The waiting processes and the scheduler: what it decides, and how that is written down. */
import { type Packing, termsOf } from "../domain/autoscale/l2/bins.ts";
import { isSame } from "../domain/canonical.ts";
import type { PeerBook } from "../domain/peer-book.ts";
import type { Problem } from "../domain/process.ts";
import {
  type Alike,
  groupAlike,
  type PlacedProcess,
  scheduleAlike,
  type SchedulingOptions,
  type WaitingProcess,
  wantedOf,
} from "../domain/schedule.ts";
import type { Claim, VolumeWish } from "../domain/volumes.ts";
import { takeVolumes } from "../operations/volumes.ts";
import { generationsOf, type ProcessRow, updateProcess } from "../store/processes.ts";
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
  { cpuOvercommit, peers, placedMax }: PlacementOptions & { readonly placedMax: number },
): readonly Placement[] {
  const queues = readQueues(snapshot);
  if (queues.length === 0) return [];
  const refused = findRefused(snapshot, queues);
  const isRefused = new Set(refused.map(({ processId }) => processId));
  const claims = claimVolumes(snapshot, queues, isRefused);
  const isSpecial = ({ id }: ProcessRow): boolean => isRefused.has(id) || claims.has(id);
  const alike = queues.flatMap((queue) => {
    const isPlain = isRefused.size + claims.size === 0 || !queue.rows.some(isSpecial);
    if (isPlain) return alikeIn(snapshot, queue);
    return groupAlike(passing(snapshot, queue, { isRefused, claims }));
  });
  const { placed, deferred, unplaced } = scheduleAlike(alike, toCandidates(snapshot), {
    cpuOvercommit,
    packingOf: snapshot.packingOf,
    holdersOf: createHoldersOf(snapshot, peers),
    placedMax,
  });
  const troubled = new Set(queues.flatMap(({ rows }) => troubledOf(rows)));
  // Nothing is wrong with those whose turn comes when their node has started others.
  const patient = troubled.size === 0 ? [] : deferred.filter((id) => troubled.has(id));
  return [
    ...placed.slice(0, placedMax).flatMap((one) => toPlacement(snapshot, one, claims)),
    ...[
      ...refused,
      ...[...claims].flatMap(toRefused),
      ...patient.map((processId) => ({ processId, problem: null })),
      ...unplaced,
    ].flatMap(({ processId, problem }): readonly Placement[] => {
      const subject = subjectOf(snapshot, processId);
      const isNews = subject !== undefined && !isSame(subject.row.problem, problem);
      return isNews ? [{ row: subject.row, tenant: subject.subscription.tenant, problem }] : [];
    }),
  ];
}

type Subject = { readonly row: ProcessRow; readonly subscription: SubscriptionRow };

function subjectOf(snapshot: Snapshot, processId: string): Subject | undefined {
  const row = snapshot.processOf(processId);
  const subscription = row && snapshot.subscriptionOf(row.subscriptionId);
  return row === undefined || subscription === undefined ? undefined : { row, subscription };
}

function toPlacement(
  snapshot: Snapshot,
  { processId, nodeId, layerBytes }: PlacedProcess,
  claims: ReadonlyMap<string, Claim>,
): readonly Placement[] {
  const subject = subjectOf(snapshot, processId);
  if (subject === undefined) return [];
  const { row, subscription } = subject;
  const process = toWaiting(snapshot, row, subscription);
  if (process === undefined) return [];
  const nodeName = snapshot.nodes.get(nodeId)?.name ?? nodeId;
  const volumes = snapshot.volumes.wishesOf(row);
  const bound = boundTo(process, claims.get(processId));
  const why = whyThere(bound, snapshot.packingOf(process.partition), layerBytes);
  return [{ row, tenant: subscription.tenant, nodeId, nodeName, why, volumes }];
}

/** The processes of one subscription that wait for a node. */
type Queue = { readonly subscription: SubscriptionRow; readonly rows: readonly ProcessRow[] };

function readQueues(snapshot: Snapshot): readonly Queue[] {
  return snapshot.subscriptions.flatMap((subscription) => {
    const rows = waitingOf(snapshot.processes.get(subscription.id) ?? []);
    return rows.length === 0 ? [] : [{ subscription, rows }];
  });
}

/** The same array for the same rows. */
const waitingOf = keepOf((rows) => rows.filter(isWaiting));
const troubledOf = keepOf((rows) =>
  rows.flatMap(({ id, problem }) => (problem === null ? [] : [id])),
);

function keepOf<Result>(
  find: (rows: readonly ProcessRow[]) => Result,
): (rows: readonly ProcessRow[]) => Result {
  const known = new WeakMap<readonly ProcessRow[], { readonly result: Result }>();
  return (rows) => {
    const kept = known.get(rows) ?? { result: find(rows) };
    known.set(rows, kept);
    return kept.result;
  };
}

type Grouped = {
  readonly needs: Snapshot["needs"];
  readonly subscription: SubscriptionRow;
  readonly alike: readonly Alike[];
};
const grouped = new WeakMap<readonly ProcessRow[], Grouped>();

/** Worked out again when its rows, its subscription or what is known of images has changed. */
function alikeIn(snapshot: Snapshot, { subscription, rows }: Queue): readonly Alike[] {
  const { needs } = snapshot;
  const known = grouped.get(rows);
  if (known?.needs === needs && known.subscription === subscription) return known.alike;
  const alike = groupAlike(rows.flatMap((row) => toWaiting(snapshot, row, subscription) ?? []));
  grouped.set(rows, { needs, subscription, alike });
  return alike;
}

type Passing = {
  readonly isRefused: ReadonlySet<string>;
  readonly claims: ReadonlyMap<string, Claim>;
};

/** Those that may be placed, with the node that they must go to for their volumes. */
function passing(
  snapshot: Snapshot,
  { subscription, rows }: Queue,
  { isRefused, claims }: Passing,
): readonly WaitingProcess[] {
  return rows.flatMap((row): readonly WaitingProcess[] => {
    const claim = claims.get(row.id);
    if (isRefused.has(row.id) || (claim !== undefined && claim.kind !== "free")) return [];
    const process = toWaiting(snapshot, row, subscription);
    return process === undefined ? [] : [boundTo(process, claim)];
  });
}

function boundTo(process: WaitingProcess, claim: Claim | undefined): WaitingProcess {
  const nodeId = claim?.kind === "free" ? claim.nodeId : undefined;
  return nodeId === undefined ? process : { ...process, nodeId };
}

function claimVolumes(
  { volumes }: Snapshot,
  queues: readonly Queue[],
  isRefused: ReadonlySet<string>,
): ReadonlyMap<string, Claim> {
  const wishing = queues.filter(({ subscription: { id: subscriptionId }, rows }) =>
    generationsOf(rows).some(
      (generation) => volumes.wishesOf({ subscriptionId, generation }).length > 0,
    ),
  );
  const waiting = wishing.flatMap(({ subscription: { tenant }, rows }) =>
    rows.flatMap((row) => (isRefused.has(row.id) ? [] : [{ row, tenant }])),
  );
  return volumes.claim(waiting);
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
function findRefused(snapshot: Snapshot, queues: readonly Queue[]): readonly Refused[] {
  const overQuota = findOverQuota(snapshot);
  return queues.flatMap(({ subscription: { id: subscriptionId }, rows }) => {
    const refusals = new Map(
      generationsOf(rows).map((generation) => [
        generation,
        snapshot.refusalOf({ subscriptionId, generation }),
      ]),
    );
    const isFree = overQuota.size === 0 && refusals.values().every((one) => one === undefined);
    if (isFree) return [];
    return rows.flatMap(({ id: processId, generation }) => {
      const problem = refusals.get(generation) ?? overQuota.get(processId);
      return problem === undefined ? [] : [{ processId, problem }];
    });
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
