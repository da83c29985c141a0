/** What operators ask of nodes: drains with a limit, and other versions of the agent. */
import { z } from "zod";

import { Name } from "../names.ts";

/** How far the upgrade of a node's agent is.
 * queued      it is its turn when others of its partition are done
 * wanted      the node was told
 * settling    the new program has reported from its place
 * complete    it has done so for a while
 * refused     the node did not begin with it: the program could not be fetched, or does not run there
 * rolledBack  the new program did not do its work on trial; the old one goes on */
const upgradeStates = [
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
  /** SHA-256 of the program, lower-case hex. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** As the new program says when it has reported; null until then. */
  version: z.string().nullable(),
  state: z.enum(upgradeStates),
  /** Why it was refused or rolled back. */
  reason: z.string().nullable(),
  /** When the node was told, or the request came. */
  requestedAt: z.iso.datetime(),
  /** Since when the new program reports, and from which life of it. */
  settling: z.object({ since: z.iso.datetime(), bootId: z.string() }).nullable(),
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

/** What a drain may be told. */
export const DrainQuery = z.strictObject({
  /** From now on, such as 10m: what has not left by then is stopped, replaced or not. Left out, it waits for ever. */
  deadline: z
    .string()
    .max(20)
    .regex(/^\d+(\.\d+)?(s|m|h)$/, "write a duration such as 10m")
    .optional(),
});
