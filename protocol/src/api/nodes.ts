/** What operators ask of nodes: drains with a limit, and other versions of the agent. */
import { z } from "zod";

import { Name } from "../names.ts";

/** How far the upgrade of a node's agent is.
 * queued      it is its turn when others of its partition are done
 * wanted      the node was told
 * settling    the new program runs in its place, and reports
 * complete    it has done so for a while
 * refused     the node did not begin with it: the program could not be fetched, or does not run there
 * rolledBack  the new program did not do its work on trial; the old one goes on */
export const upgradeStates = [
  "queued",
  "wanted",
  "settling",
  "complete",
  "refused",
  "rolledBack",
] as const;

export const NodeUpgrade = z.object({
  /** Of this one request. */
  id: z.string(),
  version: z.string(),
  /** SHA-256 of the program, lower-case hex. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  state: z.enum(upgradeStates),
  /** Why it was refused or rolled back. */
  reason: z.string().nullable(),
  requestedAt: z.iso.datetime(),
  /** Since when the new program reports from its place. */
  settledAt: z.iso.datetime().nullable(),
  /** The upgrade of many nodes that it belongs to; null when it was asked for alone. */
  stage: z.object({ id: z.string(), atOnce: z.int() }).nullable(),
});
export type NodeUpgrade = z.infer<typeof NodeUpgrade>;

/** An upgrade of all nodes of a partition, some at a time; it stops at the first that does not succeed. */
export const StagedUpgradeInput = z.strictObject({
  partition: Name,
  /** Nodes at the same time. */
  atOnce: z.int().min(1).max(100).default(1),
});
