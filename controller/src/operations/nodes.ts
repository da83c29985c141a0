import { isSame } from "../domain/canonical.ts";
import type { Admission } from "../domain/node.ts";
import { ControllerError } from "../errors.ts";
import { insertFormerNode } from "../store/former-nodes.ts";
import { deleteNode, getNode, getNodeByName, type NodeRow, updateNode } from "../store/nodes.ts";
import {
  deleteProcess,
  listProcessesOfNode,
  listRunningOn,
  updateProcess,
} from "../store/processes.ts";
import { deleteJoinToken } from "../store/tokens.ts";
import type { Unit } from "../store/unit.ts";
import { deleteVm, getVm, getVmOfNode, type VmRow } from "../store/vms.ts";
import { type Precondition, requireFound, requirePrecondition } from "./upsert.ts";
import { orderVmDeletion } from "./vms.ts";

/** By id or by name. @throws ControllerError NOT_FOUND */
export function requireNode(unit: Pick<Unit, "sql">, idOrName: string): NodeRow {
  const row = getNode(unit.sql, idOrName) ?? getNodeByName(unit.sql, idOrName);
  return requireFound(row, { kind: "node", name: idOrName });
}

type Drainer = "operator" | "scaler";

const announced = { open: "uncordoned", cordoned: "cordoned", draining: "draining" } as const;

/** Idempotent. `open` also calls off a drain: what has not been stopped yet stays. An operator may take over a drain of
 * the scaler, never the other way round. After `drainMs` a drain stops what is left; left out, it waits for ever. */
export function admitNode(
  unit: Unit,
  idOrName: string,
  {
    admission,
    by = "operator",
    drainMs,
  }: {
    readonly admission: Admission;
    readonly by?: Drainer;
    readonly drainMs?: number | undefined;
  },
): NodeRow {
  const row = requireNode(unit, idOrName);
  const drainedBy = admission === "draining" ? by : null;
  const drainDeadline = drainMs === undefined ? null : new Date(unit.nowMs + drainMs).toISOString();
  const isSame = row.admission === admission && row.drainedBy === drainedBy;
  if (isSame && row.drainDeadline === drainDeadline) return row;
  if (by === "scaler" && row.admission !== "open" && row.drainedBy !== "scaler") return row;
  const next = {
    ...row,
    admission,
    drainedBy,
    drainDeadline,
    revision: row.revision + 1,
    updatedAt: unit.now,
  };
  updateNode(unit.sql, row.id, next);
  unit.emit({
    type: `node.${announced[admission]}`,
    subject: row.name,
    message: `node ${row.name} is ${announced[admission]}${drainDeadline === null ? "" : ` until ${drainDeadline}`}`,
    data: { nodeId: row.id, by },
  });
  return next;
}

/** What the node does beside running processes; null has it do what its partition says. Idempotent. */
export function setRoles(unit: Unit, idOrName: string, roles: NodeRow["roles"]): NodeRow {
  const row = requireNode(unit, idOrName);
  if (isSame(row.roles, roles)) return row;
  const next = { ...row, roles, revision: row.revision + 1, updatedAt: unit.now };
  updateNode(unit.sql, row.id, next);
  unit.emit({
    type: "node.roles",
    subject: row.name,
    message: `node ${row.name} has ${roles === null ? "the roles of its partition" : `the roles: ${roles.join(", ") || "none"}`}`,
    data: { nodeId: row.id, roles },
  });
  return next;
}

/** Marks what may still run on a node that fell silent. */
export function markAway(unit: Unit, row: NodeRow): void {
  updateNode(unit.sql, row.id, { presence: "away", awaySince: unit.now, updatedAt: unit.now });
  for (const { id } of listRunningOn(unit.sql, row.id))
    updateProcess(unit.sql, id, { state: "suspect", stateAt: unit.now });
  unit.emit({
    type: "node.away",
    subject: row.name,
    message: `node ${row.name} is silent; its processes may well run`,
    data: { nodeId: row.id },
  });
}

/** Forgets a node and what was placed on it; its credential is worth nothing from then on, and its agent, if it comes
 * back, gives up what it runs. Its VM, if it has one, goes with it.
 * @throws ControllerError IN_USE for a present node that still holds processes, unless forced. */
export function removeNode(
  unit: Unit,
  {
    idOrName,
    precondition,
    force = false,
  }: {
    readonly idOrName: string;
    readonly precondition: Precondition;
    readonly force?: boolean;
  },
): NodeRow {
  const row = requireNode(unit, idOrName);
  requirePrecondition(precondition, row, `node ${row.name}`);
  if (!force) requireEmpty(unit, row);
  const vm = getVmOfNode(unit.sql, row.id);
  if (vm !== undefined) orderVmDeletion(unit, vm, "its node was deleted");
  forgetNode(unit, row);
  return row;
}

/** Asks for the deletion, or forgets the VM without a word to its provider. Returns what it was, and the id of a node
 * that is no more.
 * @throws ControllerError IN_USE for one whose node is present and still holds processes. */
export function deleteVmByHand(
  unit: Unit,
  id: string,
  { forget }: { readonly forget: boolean },
): { readonly row: VmRow; readonly nodeId: string | undefined } {
  const row = requireFound(getVm(unit.sql, id), { kind: "VM", name: id });
  const node = row.nodeId === null ? undefined : getNode(unit.sql, row.nodeId);
  if (node !== undefined) {
    requireEmpty(unit, node);
    admitNode(unit, node.id, { admission: "draining" });
  }
  const why = "an operator wished so";
  if (forget) return { row, nodeId: forgetVm(unit, row, why) };
  orderVmDeletion(unit, row, why);
  return { row: getVm(unit.sql, id) ?? row, nodeId: undefined };
}

/** The provider has no such VM, and nothing can come back: its row goes, and its node. Returns the node's id. */
export function forgetVm(unit: Unit, row: VmRow, why: string): string | undefined {
  const node = row.nodeId === null ? undefined : getNode(unit.sql, row.nodeId);
  deleteVm(unit.sql, row.id);
  deleteJoinToken(unit.sql, row.joinTokenId);
  unit.emit({
    type: "vm.deleted",
    subject: row.id,
    message: `VM ${row.id} is gone: ${why}`,
    data: { partition: row.partition, provider: row.provider, nodeId: row.nodeId, why },
  });
  if (node !== undefined) forgetNode(unit, node);
  return node?.id;
}

function requireEmpty({ sql }: Unit, { id, name, presence }: NodeRow): void {
  const held = listProcessesOfNode(sql, id);
  if (presence === "away" || held.length === 0) return;
  throw new ControllerError("IN_USE", `node ${name} still holds ${held.length} processes`, {
    hint: `move them away first: POST /v1/nodes/${name}/drain; with ?force=true they are replaced elsewhere at once`,
  });
}

function forgetNode(unit: Unit, row: NodeRow): void {
  const held = listProcessesOfNode(unit.sql, row.id);
  for (const { id } of held) deleteProcess(unit.sql, id);
  // Whoever waits for its assignments hears of the end.
  unit.touchNode(row.id);
  const { id, name, credentialHash } = row;
  insertFormerNode(unit.sql, { id, name, credentialHash, deletedAt: unit.now });
  deleteNode(unit.sql, id);
  unit.emit({
    type: "node.deleted",
    subject: row.name,
    message: `node ${row.name} was deleted`,
    data: { nodeId: row.id, processes: held.length },
  });
}
