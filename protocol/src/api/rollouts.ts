/** How a changed subscription comes to its processes. */
import { z } from "zod";

import { Alias } from "../names.ts";
import { DurationMs } from "../units.ts";

/** A number of processes, or a share of them: `2` or `"25%"`. */
const CountOrShare = z.union([
  z.int().min(0).max(100_000),
  z.string().regex(/^(100|[1-9]?\d)%$/, 'write a number, or a share such as "25%"'),
]);

/** Which image a subscription runs:
 * cartridge  what its cartridge names, as resolved by the last PUT of the cartridge
 * tag        whatever the tag of its cartridge names, from the moment that it is moved
 * newest     the newest image of its cartridge's repository that came up well; one that does not is left behind */
export const follows = ["cartridge", "tag", "newest"] as const;
export type Follow = (typeof follows)[number];

export const RolloutPolicyInput = z
  .strictObject({
    /** Processes more than wished while old ones are replaced. A share is rounded up. */
    maxSurge: CountOrShare.default("25%"),
    /** Processes fewer than wished, that serve, meanwhile. A share is rounded down. */
    maxUnavailable: CountOrShare.default(0),
    /** So many of the new ones come first, and the rest only after `POST …/promote` or `canaryFor`. A share is rounded
     * up; 0 is no canary. */
    canary: CountOrShare.optional(),
    /** How long canaries have to stay ready before the rest follows by itself; left out, somebody promotes. */
    canaryFor: DurationMs.optional(),
    /** A new process counts once it was ready for so long. */
    minReady: DurationMs.default(0),
    /** Without any progress for so long, it has failed. */
    progressDeadline: DurationMs.default(600_000),
    /** Whether one that failed goes back to the last generation that was good. */
    autoRollback: z.boolean().default(true),
  })
  .refine(({ maxSurge, maxUnavailable }) => !isNone(maxSurge) || !isNone(maxUnavailable), {
    path: ["maxSurge"],
    error: "nothing could be replaced with maxSurge and maxUnavailable both 0: let one be 1",
  })
  .refine(({ minReady, progressDeadline }) => minReady < progressDeadline, {
    path: ["progressDeadline"],
    error: "it must be longer than minReady",
  });
export type RolloutPolicy = z.output<typeof RolloutPolicyInput>;

function isNone(value: z.infer<typeof CountOrShare>): boolean {
  return value === 0 || value === "0%";
}

/** Durations in seconds. */
export const RolloutPolicyShown = z.object({
  ...RolloutPolicyInput.shape,
  canaryFor: z.number().optional(),
  minReady: z.number(),
  progressDeadline: z.number(),
});

/** How far a generation is:
 * progressing  old processes are replaced
 * canary       the canaries are ready, and the rest waits
 * paused       a person holds it
 * complete     every process is of it and ready
 * failed       it did not come up; its processes are still tried again
 * rolledBack   an earlier generation was taken again in its place
 * superseded   a newer one came before its end */
export const rolloutStates = [
  "progressing",
  "canary",
  "paused",
  "complete",
  "failed",
  "rolledBack",
  "superseded",
] as const;
export type RolloutState = (typeof rolloutStates)[number];

/** How one generation came in. */
export const Rollout = z.object({
  generation: z.int(),
  state: z.enum(rolloutStates),
  /** Why there is a new generation. */
  cause: z.string(),
  /** Why it stands as it does; null while all goes well. */
  reason: z.string().nullable(),
  /** Of the image. */
  digest: z.string(),
  /** Fields of what its processes run that differ from the generation before. */
  changed: z.array(z.string()),
  /** The generation that ran before; null for the first. */
  from: z.int().nullable(),
  /** The generation that it has taken again; null when it is no roll-back. */
  rollbackTo: z.int().nullable(),
  startedAt: z.string(),
  progressAt: z.string(),
  endedAt: z.string().nullable(),
});
export type Rollout = z.infer<typeof Rollout>;

/** The newest one, as the status of its subscription shows it. */
export const RolloutStatus = z.object({
  ...Rollout.pick({ generation: true, state: true, cause: true }).shape,
  /** Processes that there shall be, that are of this generation, and of those the ready ones. */
  wanted: z.int(),
  updated: z.int(),
  ready: z.int(),
  /** What it waits for or failed of, in a sentence; null when there is nothing to say. */
  message: z.string().nullable(),
});
export type RolloutStatus = z.infer<typeof RolloutStatus>;

export const RollbackInput = z.strictObject({
  /** Left out, the last one that was good and is not what runs. */
  toGeneration: z.int().min(1).optional(),
});

/** So many processes for each so many of another subscription of the tenant, rounded up. */
export const RatioInput = z.strictObject({
  of: Alias,
  /** Processes of this one … */
  processes: z.int().min(1).max(1000),
  /** … for each so many of the other. */
  per: z.int().min(1).max(1000),
});
export type Ratio = z.infer<typeof RatioInput>;
