import { type Digest, digestAlgorithm } from "@strata/protocol/oci/digest";

import type { BlobStore } from "./blob-store.ts";
import { createBufferPool } from "./buffer-pool.ts";
import type { MetadataStore } from "./metadata-store.ts";
import { hashStored } from "./running-hash.ts";

export type Fsck = {
  /** Read and hash every blob, and not only look at its length [false]. */
  readonly deep?: boolean;
};

export type FsckReport = {
  readonly blobs: number;
  /** Known, but missing, short or altered on the disk: hidden until they are pushed again. */
  readonly lost: readonly Digest[];
  /** Claimed by a repository, and on the disk after all: in service again. */
  readonly restored: readonly Digest[];
  /** Blobs on the disk that nothing names; the next start removes them. */
  readonly unnamed: number;
};

export type FsckParts = {
  readonly blobs: BlobStore;
  readonly metadata: Pick<
    MetadataStore,
    "listBlobs" | "findBlobSize" | "forgetBlob" | "restoreBlob" | "hasBlob"
  >;
  readonly clock: () => number;
};

const PAGE = 500;

/** Holds the metadata against the bytes on the disk, and brings them to agree. For a store that nobody uses now; the
 * metadata itself was brought up to its journal when it was opened. */
export async function fsck(parts: FsckParts, { deep = false }: Fsck = {}): Promise<FsckReport> {
  const { blobs: counted, lost } = await checkRows(parts, deep);
  const { restored, unnamed } = await checkFiles(parts);
  return {
    blobs: counted,
    lost: lost.filter((digest) => !restored.includes(digest)),
    restored,
    unnamed,
  };
}

async function checkRows(
  { blobs, metadata }: FsckParts,
  deep: boolean,
): Promise<{ readonly blobs: number; readonly lost: readonly Digest[] }> {
  const lost: Digest[] = [];
  let counted = 0;
  let last: Digest | undefined;
  for (;;) {
    const page = await metadata.listBlobs({ last, limit: PAGE });
    for (const digest of page) {
      counted += 1;
      const sizeBytes = await metadata.findBlobSize(digest);
      if (await isWhole(blobs, { digest, sizeBytes, deep })) continue;
      await metadata.forgetBlob(digest);
      await blobs.quarantine(digest);
      lost.push(digest);
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
  return (await hashStored(blob, digestAlgorithm(digest), createBufferPool())).digest() === digest;
}

async function checkFiles({
  blobs,
  metadata,
  clock,
}: FsckParts): Promise<Pick<FsckReport, "restored" | "unnamed">> {
  const restored: Digest[] = [];
  let unnamed = 0;
  for await (const digest of blobs.listBlobs()) {
    if (await metadata.hasBlob(digest)) continue;
    await using blob = await blobs.open(digest);
    if (blob === undefined) continue;
    const { sizeBytes } = blob;
    // Nothing vouches for these bytes but their hash.
    const hash = await hashStored(blob, digestAlgorithm(digest), createBufferPool());
    const sound = hash.digest() === digest;
    if (sound && (await metadata.restoreBlob({ digest, sizeBytes, at: clock() }))) {
      restored.push(digest);
    } else unnamed += 1;
  }
  return { restored, unnamed };
}
