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

export const RolloutPolicyInput = z.strictObject({
  /** Processes more than wished while old ones are replaced. */
  maxSurge: CountOrShare.default("25%"),
  /** Processes fewer than wished, that serve, meanwhile. */
  maxUnavailable: CountOrShare.default(0),
  /** So many of the new ones come first, and the rest only after `POST …/promote` or `canaryFor`. */
  canary: CountOrShare.optional(),
  /** How long canaries have to stay ready before the rest follows by itself; left out, somebody promotes. */
  canaryFor: DurationMs.optional(),
  /** A new process counts once it was ready for so long. */
  minReady: DurationMs.default(0),
  /** Without any progress for so long, it has failed. */
  progressDeadline: DurationMs.default(600_000),
  /** Whether one that failed goes back to the last generation that was good. */
  autoRollback: z.boolean().default(true),
});
export type RolloutPolicy = z.output<typeof RolloutPolicyInput>;

/** Durations in seconds. */
export const RolloutPolicyShown = z.object({
  ...RolloutPolicyInput.shape,
  canaryFor: z.number().optional(),
  minReady: z.number(),
  progressDeadline: z.number(),
});

/** progressing → (canary →) complete, or failed, or rolledBack where the last good one was taken instead; paused by a
 * person; superseded by a newer generation before its end. */
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

/** So many processes for each so many of another subscription of the tenant, rounded up. */
export const RatioInput = z.strictObject({
  of: Alias,
  /** Processes of this one … */
  processes: z.int().min(1).max(1000),
  /** … for each so many of the other. */
  per: z.int().min(1).max(1000),
});
export type Ratio = z.infer<typeof RatioInput>;
