import { isTerminal } from "@strata/protocol/agent/process-state";

import { nextFence, type VolumeWish, volumesOf } from "../domain/volumes.ts";
import { ControllerError } from "../errors.ts";
import { getNode } from "../store/nodes.ts";
import {
  generationKey,
  listGenerationsInUse,
  listProcessesBySubscription,
} from "../store/processes.ts";
import { listNewestGenerations } from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import {
  deleteVolume,
  getVolume,
  listHomeless,
  listLeavingVolumes,
  saveVolume,
  type VolumeRow,
} from "../store/volumes.ts";
import { refuseInUse, requireFound } from "./upsert.ts";

export type VolumeKey = { readonly tenant: string; readonly name: string };

export type Taking = {
  readonly tenant: string;
  readonly processId: string;
  readonly nodeId: string;
  readonly wishes: readonly VolumeWish[];
};

/** Binds the volumes of a process that is being placed to its node, and makes it the holder of those that it alone may
 * write to. */
export function takeVolumes(unit: Unit, { tenant, processId, nodeId, wishes }: Taking): void {
  for (const { name, isSole } of wishes) {
    const known = getVolume(unit.sql, { tenant, name });
    const fence = known?.fence ?? 0;
    saveVolume(unit.sql, {
      tenant,
      name,
      nodeId,
      fence: isSole ? nextFence(fence, unit.nowMs) : fence,
      holder: isSole ? processId : (known?.holder ?? null),
      deletedAt: null,
      revision: (known?.revision ?? 0) + 1,
      createdAt: known?.createdAt ?? unit.now,
      updatedAt: unit.now,
    });
    if (known?.nodeId !== nodeId)
      unit.emit({
        type: "volume.bound",
        tenant,
        subject: name,
        message: `volume ${name} is on node ${getNode(unit.sql, nodeId)?.name ?? nodeId} from now on`,
        data: { nodeId, process: processId },
      });
  }
}

/** Volumes of processes that were placed before volumes were kept account of. */
export function adoptVolumes(unit: Unit): void {
  const specs = new Map(
    listGenerationsInUse(unit.sql).map((row) => [generationKey(row), row.spec]),
  );
  if (![...specs.values()].some((spec) => volumesOf(spec).length > 0)) return;
  for (const row of [...listProcessesBySubscription(unit.sql).values()].flat()) {
    const spec = specs.get(generationKey(row));
    if (spec === undefined || row.nodeId === null || isTerminal(row.state)) continue;
    const { tenant } = spec;
    const wishes = volumesOf(spec).filter(
      ({ name }) => getVolume(unit.sql, { tenant, name }) === undefined,
    );
    takeVolumes(unit, { tenant, processId: row.id, nodeId: row.nodeId, wishes });
  }
}

/** Its folder is removed by its node, and the volume forgotten when that has said so. Idempotent.
 * @throws ControllerError IN_USE */
export function removeVolume(unit: Unit, key: VolumeKey): VolumeRow {
  const row = requireVolume(unit, key);
  if (row.deletedAt !== null) return row;
  refuseInUse(`volume ${key.name}`, usersOf(unit, key));
  const next = { ...row, deletedAt: unit.now, holder: null, updatedAt: unit.now };
  saveVolume(unit.sql, next);
  if (row.nodeId !== null) unit.touchNode(row.nodeId);
  unit.emit({
    type: "volume.deleting",
    tenant: key.tenant,
    subject: key.name,
    message: `volume ${key.name} is being deleted`,
    data: { nodeId: row.nodeId },
  });
  return next;
}

/** Gives up what a silent node has of it: the next process makes it anew, empty, on any node.
 * @throws ControllerError IN_USE while its node is present. */
export function releaseVolume(unit: Unit, key: VolumeKey): VolumeRow {
  const row = requireVolume(unit, key);
  const node = row.nodeId === null ? undefined : getNode(unit.sql, row.nodeId);
  if (node?.presence === "present")
    throw new ControllerError(
      "IN_USE",
      `volume ${key.name} is on node ${node.name}, which answers`,
      {
        hint: "delete the volume where its content is not wanted; release is for nodes that are lost",
      },
    );
  const next = {
    ...row,
    nodeId: null,
    holder: null,
    fence: nextFence(row.fence, unit.nowMs),
    revision: row.revision + 1,
    updatedAt: unit.now,
  };
  saveVolume(unit.sql, next);
  if (row.nodeId !== null)
    unit.emit({
      type: "volume.released",
      tenant: key.tenant,
      subject: key.name,
      message: `volume ${key.name} was given up: what node ${node?.name ?? row.nodeId} has of it is not used again`,
      data: { nodeId: row.nodeId },
    });
  return next;
}

/** @throws ControllerError NOT_FOUND */
export function requireVolume(unit: Pick<Unit, "sql">, key: VolumeKey): VolumeRow {
  return requireFound(getVolume(unit.sql, key), { kind: "volume", name: key.name });
}

/** The node has removed these folders. */
export function forgetRemoved(unit: Unit, nodeId: string, removed: readonly VolumeKey[]): void {
  const leaving = listLeavingVolumes(unit.sql).filter((row) => row.nodeId === nodeId);
  for (const row of leaving) {
    if (!removed.some(({ tenant, name }) => tenant === row.tenant && name === row.name)) continue;
    forget(unit, row);
    unit.touchNode(nodeId);
  }
}

/** What has become of volumes whose node was deleted. */
export function settleHomeless(unit: Unit): void {
  for (const row of listHomeless(unit.sql)) {
    if (row.deletedAt !== null) {
      forget(unit, row);
      continue;
    }
    saveVolume(unit.sql, { ...row, holder: null, updatedAt: unit.now });
    unit.emit({
      type: "volume.lost",
      tenant: row.tenant,
      subject: row.name,
      message: `volume ${row.name} is lost: its node was deleted. The next process makes it anew, empty`,
    });
  }
}

function forget(unit: Unit, row: VolumeRow): void {
  deleteVolume(unit.sql, row);
  unit.emit({
    type: "volume.deleted",
    tenant: row.tenant,
    subject: row.name,
    message: `volume ${row.name} is gone`,
  });
}

/** Subscriptions and jobs that want it, and processes that still have it. */
function usersOf(unit: Unit, { tenant, name }: VolumeKey): readonly string[] {
  const uses = (spec: Parameters<typeof volumesOf>[0] & { readonly tenant: string }): boolean =>
    spec.tenant === tenant && volumesOf(spec).some((wish) => wish.name === name);
  const wanting = listNewestGenerations(unit.sql)
    .filter(({ spec }) => uses(spec))
    .map(({ spec }) => spec.subscription);
  const using = new Set(
    listGenerationsInUse(unit.sql)
      .filter(({ spec }) => uses(spec))
      .map(generationKey),
  );
  const having = [...listProcessesBySubscription(unit.sql).values()]
    .flat()
    .filter((row) => using.has(generationKey(row)) && !isTerminal(row.state))
    .map(({ id }) => `process ${id}`);
  return [...wanting, ...having];
}
