import type { Assignment, Assignments } from "@strata/protocol/agent/messages";
import { Assignment as AssignmentSchema, PrefetchImages } from "@strata/protocol/agent/messages";
import type { UpgradeOrder } from "@strata/protocol/agent/upgrade";
import type { VolumeName } from "@strata/protocol/agent/volumes";
import { LABEL_LENGTH_MAX, Name } from "@strata/protocol/names";
import { z } from "zod";

/** What this node was told last, and works from while nobody tells it more. */
export const DesiredState = z.object({
  version: z.literal(1),
  epoch: z.string(),
  revision: z.int().nonnegative(),
  assignments: z.array(AssignmentSchema),
  /** Images to fetch beforehand. They are no wish of their own: whoever names them may. */
  prefetch: PrefetchImages.optional(),
});
export type DesiredState = z.infer<typeof DesiredState>;

export type Acceptance = {
  readonly desired: DesiredState;
  /** From the known epoch alone. */
  readonly upgrade: UpgradeOrder | undefined;
  /** Volumes to remove. From the known epoch alone. */
  readonly removeVolumes: readonly VolumeName[];
  /** Why parts of the message were not taken, for the log. */
  readonly refusals: readonly string[];
};

/** Merges a message of the controller into what the node was told before. Pure.
 *
 * - An assignment with a smaller fence than the one known for its process is late: the known one stays (rule 8).
 * - A message of another epoch comes from a controller whose state was replaced, perhaps by an old backup. It may add
 *   work, but it ends none: what it does not mention stays, and so does what it wants stopped or changed (rule 6).
 *   That lasts until a message says, in `follows`, that an operator has confirmed the new epoch.
 * - A process id that could not be a host name never reaches a path or a configuration. */
export function acceptAssignments(known: DesiredState, message: Assignments): Acceptance {
  const isTrusted = message.epoch === known.epoch || (message.follows ?? []).includes(known.epoch);
  const refusals: string[] = [];
  const before = new Map(known.assignments.map((assignment) => [assignment.processId, assignment]));
  const after = new Map<string, Assignment>();
  for (const assignment of message.assignments) {
    const { processId } = assignment;
    const previous = before.get(processId);
    const refusal = refuse({ assignment, previous, isTrusted });
    if (refusal !== undefined) refusals.push(`${processId.slice(0, LABEL_LENGTH_MAX)}: ${refusal}`);
    if (refusal === undefined) after.set(processId, assignment);
    else if (previous !== undefined) after.set(processId, previous);
  }
  if (!isTrusted) {
    for (const [processId, assignment] of before) {
      if (after.has(processId)) continue;
      after.set(processId, assignment);
      refusals.push(`${processId}: not in a list of the unconfirmed epoch ${message.epoch}`);
    }
  }
  return {
    desired: {
      version: 1,
      epoch: isTrusted ? message.epoch : known.epoch,
      revision: message.revision,
      assignments: [...after.values()],
      ...(message.prefetch !== undefined && { prefetch: message.prefetch }),
    },
    upgrade: isTrusted ? message.upgrade : undefined,
    removeVolumes: isTrusted ? (message.removeVolumes ?? []) : [],
    refusals,
  };
}

type Candidate = {
  readonly assignment: Assignment;
  readonly previous: Assignment | undefined;
  readonly isTrusted: boolean;
};

function refuse({ assignment, previous, isTrusted }: Candidate): string | undefined {
  if (!Name.safeParse(assignment.processId).success) return "not a process id";
  if (previous === undefined) return undefined;
  if (!isTrusted) return "known under the epoch before";
  if (assignment.fence < previous.fence) {
    return `fence ${assignment.fence} is older than ${previous.fence}`;
  }
  return undefined;
}
