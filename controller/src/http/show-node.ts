import { isTerminal } from "@strata/protocol/agent/process-state";
import type { NodeRole } from "@strata/protocol/api/network";
import type { Node } from "@strata/protocol/api/resources";

import { nodeMessage, nodeState } from "../domain/node.ts";
import type { NodeRow } from "../store/nodes.ts";
import { getPartition } from "../store/partitions.ts";
import { listAssigned, type ProcessView } from "../store/processes.ts";
import type { Services } from "./services.ts";
import { stored } from "./views.ts";

export type ShowNode = (row: NodeRow) => Node;

/** For the nodes of one answer: whether replacements are held back is looked up once, and only for one that is away. */
export function nodesShown({ store, isHeld }: Pick<Services, "store" | "isHeld">): ShowNode {
  let held: boolean | undefined;
  const roles = new Map<string, readonly NodeRole[]>();
  const rolesOfPartition = (name: string): readonly NodeRole[] => {
    const known = roles.get(name) ?? getPartition(store.sql, name)?.roles ?? [];
    roles.set(name, known);
    return known;
  };
  return (row) => {
    if (row.presence === "away") held ??= isHeld();
    return showNode(row, listAssigned(store.sql, row.id), {
      isHeld: held === true,
      roles: row.roles ?? rolesOfPartition(row.partition),
    });
  };
}

function showNode(
  row: NodeRow,
  held: readonly ProcessView[],
  { isHeld, roles }: { readonly isHeld: boolean; readonly roles: readonly NodeRole[] },
): Node {
  const alive = held.filter(({ process }) => !isTerminal(process.state));
  const sum = (of: (view: ProcessView) => number): number =>
    alive.reduce((total, view) => total + of(view), 0);
  return {
    id: row.id,
    name: row.name,
    partition: row.partition,
    state: nodeState(row),
    message: nodeMessage(row, { processes: alive.length, isHeld }),
    address: row.address,
    architecture: row.architecture,
    kernel: row.kernel,
    agentVersion: row.agentVersion,
    labels: { ...row.labels },
    roles: [...roles],
    capacity: row.capacity,
    allocated: {
      cpuMillis: sum(({ spec }) => spec.limits.cpuMaxMillis),
      memoryBytes: sum(({ spec }) => spec.limits.memoryMaxBytes),
      pids: sum(({ spec }) => spec.limits.pidsMax),
    },
    processes: alive.length,
    drainDeadline: row.drainDeadline,
    upgrade: row.upgrade,
    lastSeenAt: row.lastSeenAt,
    ...stored(row),
  };
}
