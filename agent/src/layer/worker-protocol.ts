/** What the agent and the process that unpacks a layer for it say to each other. The job is the only argument, the
 * blob comes on standard input, one line of JSON on standard output is the outcome. The process takes types from here
 * alone: to load zod takes longer than to unpack a small layer. */
import type { Digest, DigestAlgorithm } from "@strata/protocol/oci/digest";
import { DigestText } from "@strata/protocol/oci/image";
import { z } from "zod";

import type { LayerLimits } from "./limits.ts";

export type UnpackJob = {
  /** Empty, and nobody else's. */
  readonly directory: string;
  /** Of the diffId. */
  readonly algorithm: DigestAlgorithm;
  readonly limits: LayerLimits;
  readonly blob: { readonly digest: Digest; readonly size: number };
  /** Standard input is the archive of a gzip blob, with the blob's end mark behind it: `readInflated`. */
  readonly inflated: boolean;
};

const Tally = z.object({ count: z.int(), names: z.array(z.string()).readonly() });

/** What is worth keeping of a layer; lies beside its files. Names are bytes in latin1. */
export const LayerRecord = z.object({
  diffId: DigestText,
  archiveBytes: z.int(),
  entries: z.int(),
  fileBytes: z.int(),
  skippedDevices: Tally,
  droppedXattrs: Tally,
  /** The layers below show nothing through this one. overlayfs cannot mark a root, so they are left out. */
  rootOpaque: z.boolean(),
});
export type LayerRecord = z.infer<typeof LayerRecord>;

export const UnpackOutcome = z.discriminatedUnion("ok", [
  z.object({ ok: z.literal(true), layer: LayerRecord }),
  z.object({
    ok: z.literal(false),
    code: z.string(),
    message: z.string(),
    hint: z.string().optional(),
    retryable: z.boolean(),
  }),
]);
export type UnpackOutcome = z.infer<typeof UnpackOutcome>;
