/** Which nodes may run a subscription's processes. */
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
