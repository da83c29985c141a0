/** What the agent and the process that unpacks a layer for it say to each other. The job is the only argument, the
 * blob comes on standard input, one line of JSON on standard output is the outcome. */
import { CodedError } from "@strata/protocol/errors";
import { DigestText } from "@strata/protocol/oci/image";
import { z } from "zod";

const count = z.number().positive();

export const UnpackJob = z.object({
  /** Empty, and nobody else's. */
  directory: z.string(),
  algorithm: z.enum(["sha256", "sha512"]),
  limits: z.object({
    unpackedBytesMax: count,
    ratioMax: count,
    ratioGraceBytes: count,
    entriesMax: count,
    pathBytesMax: count,
    depthMax: count,
    linkFollowsMax: count,
    extendedHeaderBytesMax: count,
    xattrBytesMax: count,
  }),
});
export type UnpackJob = z.infer<typeof UnpackJob>;

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

export function failedOutcome(error: unknown): UnpackOutcome {
  if (error instanceof CodedError) {
    const { code, message, hint, retryable } = error;
    return { ok: false, code, message, retryable, ...(hint === undefined ? {} : { hint }) };
  }
  return { ok: false, code: "UNPACK_FAILED", message: String(error), retryable: true };
}
