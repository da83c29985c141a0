/** Which nodes may run a subscription's processes, and why a process is where it is or nowhere. */
import { z } from "zod";

import { Labels, Name } from "../names.ts";
import { apartInput } from "./autoscale.ts";

export const PlacementInput = z.strictObject({
  /** As OCI names them: `amd64`, `arm64`. Left out, what the image is made for. */
  architecture: z.string().min(1).max(32).optional(),
  /** A node has all of these. */
  labels: Labels.default({}),
  /** A node is in one of these. */
  zones: z.array(z.string().min(1).max(63)).min(1).max(64).optional(),
  /** At most so many processes of the subscription on one node. */
  maxPerNode: z.int().min(1).max(100_000).optional(),
  /** Keeps its processes on different nodes, and evenly over zones. Left out, as the partition's policy has it. */
  apart: apartInput.optional(),
});
export type Placement = z.output<typeof PlacementInput>;

/** Why a node does not take a process. */
export const obstacleCodes = [
  "CLOSED", // It is cordoned, draining or away.
  "OTHER_NODE", // The process belongs to another node.
  "ARCHITECTURE",
  "ZONE",
  "LABELS",
  "TOO_SMALL", // Even if it were empty.
  "MEMORY",
  "CPU",
  "PIDS",
  "HOST_PORT",
  "EXCLUSIVE", // It has its one process.
  "MAX_PER_NODE",
  "APART", // Its node or zone has one of the subscription.
  "STARTS", // It starts as many as it may at once.
] as const;
export type ObstacleCode = (typeof obstacleCodes)[number];

const Reason = z.object({ code: z.string(), message: z.string() });

/** Why a process is where it is, or why each node does not take it. */
export const PlacementExplanation = z.object({
  process: z.string(),
  subscription: z.string(),
  /** Null when its subscription is gone. */
  partition: Name.nullable(),
  /** Where it is; null while it is nowhere. */
  placed: z
    .object({
      node: z.string(),
      /** Null when nothing is known of that time any more, as is `why`. */
      at: z.iso.datetime().nullable(),
      /** In one sentence. */
      why: z.string().nullable(),
    })
    .nullable(),
  /** What it waits for; null for one that is placed. */
  waits: Reason.nullable(),
  /** How many nodes have which reason, by code; `ROOM` stands for those that could take it. */
  totals: z.record(z.string(), z.int().positive()),
  /** One page of the partition's nodes, by name. Empty for one that is placed. */
  nodes: z.array(
    z.object({
      node: z.string(),
      code: z.enum([...obstacleCodes, "ROOM"]),
      message: z.string(),
    }),
  ),
  /** For `?after=` of the next page of nodes. */
  next: z.string().nullable(),
});
export type PlacementExplanation = z.infer<typeof PlacementExplanation>;
