import { getErrorCode } from "@strata/protocol/errors";
import { type Digest, digestAlgorithm } from "@strata/protocol/oci/digest";

import type { BlobStore, OpenBlob } from "./blob-store.ts";
import { createBufferPool } from "./buffer-pool.ts";
import type { MetadataStore } from "./metadata-store.ts";
import { hashStored } from "./running-hash.ts";

export type Fsck = {
  /** Read and hash every blob, and not only look at its length [false]. */
  readonly deep?: boolean;
  /** Say what is wrong, and change nothing [false]. */
  readonly dryRun?: boolean;
  /** Told of each blob that was looked at. */
  readonly onProgress?: (done: { readonly blobs: number }) => void;
};

export type FsckReport = {
  readonly blobs: number;
  /** Known, but missing, short or altered: hidden until they are pushed again. */
  readonly lost: readonly Digest[];
  /** Claimed by a repository, and there after all: in service again. */
  readonly restored: readonly Digest[];
  /** Blobs that nothing names; the next start removes them. */
  readonly unnamed: number;
};

export type FsckParts = {
  readonly blobs: BlobStore;
  readonly metadata: Pick<
    MetadataStore,
    "listBlobs" | "findBlobSize" | "forgetBlob" | "restoreBlob" | "hasBlob" | "listClaimants"
  >;
  readonly clock: () => number;
};

const PAGE = 500;

/** Holds the metadata against the bytes, and brings them to agree. For a store that nobody uses now; the
 * metadata itself was brought up to its journal when it was opened. */
export async function fsck(parts: FsckParts, request: Fsck = {}): Promise<FsckReport> {
  const { blobs: counted, lost } = await checkRows(parts, request);
  const { restored, unnamed } = await checkFiles(parts, request);
  return {
    blobs: counted,
    lost: lost.filter((digest) => !restored.includes(digest)),
    restored,
    unnamed,
  };
}

async function checkRows(
  { blobs, metadata }: FsckParts,
  { deep = false, dryRun = false, onProgress }: Fsck,
): Promise<{ readonly blobs: number; readonly lost: readonly Digest[] }> {
  const lost: Digest[] = [];
  let counted = 0;
  let last: Digest | undefined;
  for (;;) {
    const page = await metadata.listBlobs({ last, limit: PAGE });
    for (const digest of page) {
      counted += 1;
      onProgress?.({ blobs: counted });
      const sizeBytes = await metadata.findBlobSize(digest);
      if (await isWhole(blobs, { digest, sizeBytes, deep })) continue;
      lost.push(digest);
      if (dryRun) continue;
      await metadata.forgetBlob(digest);
      await blobs.quarantine(digest);
    }
    if (page.length < PAGE) return { blobs: counted, lost };
    last = page.at(-1);
  }
}

type Expected = {
  readonly digest: Digest;
  readonly sizeBytes: number | undefined;
  readonly deep: boolean;
};

async function isWhole(blobs: BlobStore, { digest, sizeBytes, deep }: Expected): Promise<boolean> {
  await using blob = await blobs.open(digest);
  if (blob?.sizeBytes !== sizeBytes || blob === undefined) return false;
  if (!deep) return true;
  return await isSound(blob, digest);
}

async function isSound(blob: OpenBlob, digest: Digest): Promise<boolean> {
  try {
    const hash = await hashStored(blob, digestAlgorithm(digest), createBufferPool());
    return hash.digest() === digest;
  } catch (error) {
    // Bytes that cannot be read any more are as good as altered; anything else may pass.
    if (getErrorCode(error) === "EIO") return false;
    throw error;
  }
}

async function checkFiles(
  parts: FsckParts,
  { dryRun = false }: Fsck,
): Promise<Pick<FsckReport, "restored" | "unnamed">> {
  const { blobs, metadata, clock } = parts;
  const restored: Digest[] = [];
  let unnamed = 0;
  for await (const digest of blobs.listBlobs()) {
    if (await metadata.hasBlob(digest)) continue;
    await using blob = await blobs.open(digest);
    if (blob === undefined) continue;
    const { sizeBytes } = blob;
    // Nothing vouches for these bytes but their hash.
    const sound = await isSound(blob, digest);
    const isWanted = dryRun
      ? (await metadata.listClaimants(digest, 1)).length > 0
      : sound && (await metadata.restoreBlob({ digest, sizeBytes, at: clock() }));
    if (sound && isWanted) restored.push(digest);
    else unnamed += 1;
  }
  return { restored, unnamed };
}
