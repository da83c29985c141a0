/** Which nodes may run a subscription's processes, and what an operator wants of a node. */
import { z } from "zod";

import { Labels } from "../names.ts";

export const PlacementInput = z.strictObject({
  /** As OCI names them: `amd64`, `arm64`. Left out, what the image is made for. */
  architecture: z.string().max(32).optional(),
  /** A node has all of these. */
  labels: Labels.default({}),
  zones: z.array(z.string().min(1).max(63)).min(1).max(64).optional(),
  /** At most so many processes of the subscription on one node. */
  maxPerNode: z.int().min(1).max(100_000).optional(),
  /** Whether its processes share a node or a zone: never, rather not, or as it comes. */
  apart: z
    .strictObject({
      nodes: z.enum(["require", "prefer", "off"]).default("off"),
      zones: z.enum(["require", "prefer", "off"]).default("off"),
    })
    .optional(),
});
export type Placement = z.output<typeof PlacementInput>;

/** How far the upgrade of a node's agent is. */
export const NodeUpgrade = z.object({
  version: z.string(),
  /** SHA-256 of the program, lower-case hex. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  state: z.enum(["wanted", "complete", "rolledBack"]),
  /** Why it was rolled back. */
  reason: z.string().nullable(),
  requestedAt: z.iso.datetime(),
});
export type NodeUpgrade = z.infer<typeof NodeUpgrade>;
