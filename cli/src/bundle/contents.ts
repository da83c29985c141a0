/** `strata-bundle.json`: what a bundle has beyond an OCI image layout. docs/reference/bundles.md describes it. */
import { createHash } from "node:crypto";

import { type Digest, digestAlgorithm, digestHex, parseDigest } from "@strata/protocol/oci/digest";
import { DigestText } from "@strata/protocol/oci/image";
import { z } from "zod";

export const CONTENTS_FILE = "strata-bundle.json";
export const INDEX_FILE = "index.json";
export const MARKER_FILE = "oci-layout";
export const MARKER = JSON.stringify({ imageLayoutVersion: "1.0.0" });
/** image-spec v1.1, "Pre-Defined Annotation Keys". skopeo finds an image of an archive by it: `repository:tag`. */
export const nameAnnotation = "org.opencontainers.image.ref.name";
/** Ours: the repository of what has no tag, such as a signature. */
export const repositoryAnnotation = "io.strata.repository";

const BLOBS_MAX = 262_144;
const FILES_MAX = 64;

const Blob = z.strictObject({ digest: DigestText, size: z.int().nonnegative() });
export type BlobName = z.infer<typeof Blob>;

/** A blob that is made of others that the receiver has, and of a patch. */
const Delta = z.strictObject({
  ...Blob.shape,
  patch: Blob,
  sources: z.array(Blob).min(1).max(16),
});
export type Delta = z.infer<typeof Delta>;

export const BundleContents = z.strictObject({
  bundleVersion: z.literal(1),
  /** Of `index.json`: the digest of this file is so one of all that the bundle holds. */
  index: DigestText,
  /** The bundle that has to be loaded before this one. */
  base: DigestText.optional(),
  /** Blobs that images of the bundle need and that it leaves out. */
  required: z.array(Blob).max(BLOBS_MAX),
  deltas: z.array(Delta).max(BLOBS_MAX),
  /** What is no image: binaries of the agent, resources. */
  files: z
    .array(
      z.strictObject({
        ...Blob.shape,
        path: z.string().regex(/^strata\/[a-z0-9][a-z0-9._-]{0,99}$/),
      }),
    )
    .max(FILES_MAX),
});
export type BundleContents = z.infer<typeof BundleContents>;

export function blobFile(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}

export function sha256Of(bytes: Uint8Array): Digest {
  return parseDigest(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);
}
