import type { Admission } from "../domain/node.ts";
import { ControllerError } from "../errors.ts";
import { deleteNode, getNode, getNodeByName, type NodeRow, updateNode } from "../store/nodes.ts";
import {
  deleteProcess,
  listProcessesOfNode,
  listRunningOn,
  updateProcess,
} from "../store/processes.ts";
import type { Unit } from "../store/unit.ts";
import { type Precondition, requireFound, requirePrecondition } from "./upsert.ts";

/** By id or by name. @throws ControllerError NOT_FOUND */
export function requireNode(unit: Pick<Unit, "sql">, idOrName: string): NodeRow {
  const row = getNode(unit.sql, idOrName) ?? getNodeByName(unit.sql, idOrName);
  return requireFound(row, { kind: "node", name: idOrName });
}

const announced = { open: "uncordoned", cordoned: "cordoned", draining: "draining" } as const;

/** Idempotent. `open` also calls off a drain: what has not been stopped yet stays. */
export function admitNode(unit: Unit, idOrName: string, admission: Admission): NodeRow {
  const row = requireNode(unit, idOrName);
  if (row.admission === admission) return row;
  const next = { ...row, admission, revision: row.revision + 1, updatedAt: unit.now };
  updateNode(unit.sql, row.id, next);
  unit.emit({
    type: `node.${announced[admission]}`,
    subject: row.name,
    message: `node ${row.name} is ${announced[admission]}`,
    data: { nodeId: row.id },
  });
  return next;
}

/** Marks what may still run on a node that fell silent. */
export function markAway(unit: Unit, row: NodeRow): void {
  updateNode(unit.sql, row.id, { presence: "away", updatedAt: unit.now });
  for (const { id } of listRunningOn(unit.sql, row.id))
    updateProcess(unit.sql, id, { state: "suspect", stateAt: unit.now });
  unit.emit({
    type: "node.away",
    subject: row.name,
    message: `node ${row.name} is silent; its processes may well run`,
    data: { nodeId: row.id },
  });
}

/** Forgets a node and what was placed on it; its credential is worth nothing from then on.
 * @throws ControllerError IN_USE for a present node that still holds processes. */
export function removeNode(
  unit: Unit,
  { idOrName, precondition }: { readonly idOrName: string; readonly precondition: Precondition },
): NodeRow {
  const row = requireNode(unit, idOrName);
  requirePrecondition(precondition, row, `node ${row.name}`);
  const held = listProcessesOfNode(unit.sql, row.id);
  if (row.presence === "present" && held.length > 0) {
    throw new ControllerError("IN_USE", `node ${row.name} still holds ${held.length} processes`, {
      hint: `move them away first: POST /v1/nodes/${row.name}/drain`,
    });
  }
  for (const { id } of held) deleteProcess(unit.sql, id);
  deleteNode(unit.sql, row.id);
  unit.emit({
    type: "node.deleted",
    subject: row.name,
    message: `node ${row.name} was deleted`,
    data: { nodeId: row.id, processes: held.length },
  });
  return row;
}
