import type { Assignment, ProcessSpec } from "@strata/protocol/agent/messages";

import { volumeKey, volumesOf } from "../domain/volumes.ts";
import type { Sql } from "../store/database.ts";
import { listAssigned } from "../store/processes.ts";
import { listVolumes, type VolumeRow } from "../store/volumes.ts";

/** The fence of a holder before the present one is none that anybody accepts. */
const NO_FENCE = 0;

/** All that the node is told to hold, ended processes included until they are forgotten. */
export function listAssignments(sql: Sql, nodeId: string): Assignment[] {
  const fencesOf = createFences(sql);
  return listAssigned(sql, nodeId).flatMap(({ process, spec }) => {
    const { id: processId, assignmentId, generation, fence, desired, startDeadline } = process;
    if (assignmentId === null || startDeadline === null) return [];
    const wish = {
      id: assignmentId,
      processId,
      generation,
      fence,
      desired,
      startDeadline,
      spec,
      ...(process.freeze === "ordered" && { frozen: true }),
    };
    const volumeFences = fencesOf(processId, spec);
    return [volumeFences === undefined ? wish : { ...wish, volumeFences }];
  });
}

type FencesOf = (processId: string, spec: ProcessSpec) => Assignment["volumeFences"];

/** Reads volumes where a process has some that it alone may write to. */
function createFences(sql: Sql): FencesOf {
  let known: ReadonlyMap<string, VolumeRow> | undefined;
  return (processId, spec) => {
    const sole = volumesOf(spec).filter(({ isSole }) => isSole);
    if (sole.length === 0) return undefined;
    known ??= new Map(listVolumes(sql).map((row) => [volumeKey(row.tenant, row.name), row]));
    const rows = known;
    return Object.fromEntries(
      sole.flatMap(({ name }) => {
        const row = rows.get(volumeKey(spec.tenant, name));
        if (row === undefined) return [];
        return [[name, row.holder === processId ? row.fence : NO_FENCE]];
      }),
    );
  };
}
