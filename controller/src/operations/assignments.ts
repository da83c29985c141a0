import type { Assignment } from "@strata/protocol/agent/messages";

import type { Sql } from "../store/database.ts";
import { listAssigned } from "../store/processes.ts";

/** All that the node is told to hold, ended processes included until they are forgotten. */
export function listAssignments(sql: Sql, nodeId: string): Assignment[] {
  return listAssigned(sql, nodeId).flatMap(({ process, spec }) => {
    const { id: processId, assignmentId, generation, fence, desired, startDeadline } = process;
    if (assignmentId === null || startDeadline === null) return [];
    return [{ id: assignmentId, processId, generation, fence, desired, startDeadline, spec }];
  });
}
