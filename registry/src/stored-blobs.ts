import { getErrorCode } from "@strata/protocol/errors";
import { type Digest, digestAlgorithm } from "@strata/protocol/oci/digest";

import type { BlobStore } from "./blob-store.ts";
import type { BufferPool } from "./buffer-pool.ts";
import { createKeyedLock } from "./keyed-lock.ts";
import type { RegistryLogger } from "./logger.ts";
import type { MetadataStore, PutBlob, RemoveBlobResult, RestoreBlob } from "./metadata-store.ts";
import { hashStored } from "./running-hash.ts";

/** Keeps bytes and metadata in step. Bytes come first and go last, and what concerns one digest happens one after
 * the other; so a row never stands without its bytes, and a crash leaves at worst bytes without a row. */
export type StoredBlobs = {
  /** Makes the verified upload `from` the blob. False when the upload is gone. */
  readonly commit: (from: string, blob: PutBlob) => Promise<boolean>;
  /** Makes the verified upload `from` the bytes of a blob that was lost. False when nobody wants it any more. */
  readonly restore: (from: string, blob: RestoreBlob) => Promise<boolean>;
  readonly remove: (repository: string, digest: Digest) => Promise<RemoveBlobResult>;
  /** Looks again at a blob that was found missing, short or altered, and takes it out of service if it is. A client
   * that asks is then told to push it, and the push brings it back. Gives whether it was taken out. */
  readonly distrust: (digest: Digest) => Promise<boolean>;
  /** Removes the bytes unless somebody has pushed them again; gives whether it did. */
  readonly dropUnknown: (digest: Digest) => Promise<boolean>;
  /** Removes bytes that a crash left without a row; gives their number. None while no blob at all has a row. */
  readonly sweep: () => Promise<number>;
};

/** A blob that had to be taken out of service. */
export type CorruptBlob = {
  readonly digest: Digest;
  /** The first of those that claim it. */
  readonly repositories: readonly string[];
};

/** Repositories named for a corrupt blob. */
const CLAIMANTS_MAX = 20;

export type StoredBlobsOptions = {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly buffers: BufferPool;
  /** Told of each blob that was taken out of service. Must not throw. */
  readonly onCorrupt: (corrupt: CorruptBlob) => void;
  readonly logger: RegistryLogger;
};

export function createStoredBlobs(options: StoredBlobsOptions): StoredBlobs {
  const { blobs, metadata, onCorrupt, logger } = options;
  const lock = createKeyedLock();
  const dropIfUnknown = async (digest: Digest): Promise<boolean> => {
    if (await metadata.hasBlob(digest)) return false;
    await blobs.delete(digest);
    return true;
  };

  return {
    commit: (from, blob) =>
      lock(blob.digest, async () => {
        if (!(await blobs.commitUpload(from, blob.digest))) return false;
        try {
          await metadata.putBlob(blob);
        } catch (error) {
          await dropIfUnknown(blob.digest).catch((cause: unknown) =>
            logger.warn(
              { err: cause, digest: blob.digest },
              "bytes without a row wait for the sweep",
            ),
          );
          throw error;
        }
        return true;
      }),
    restore: (from, blob) =>
      lock(blob.digest, async () => {
        if (!(await blobs.commitUpload(from, blob.digest))) return false;
        const wanted = await metadata.restoreBlob(blob);
        if (!wanted) await dropIfUnknown(blob.digest);
        return wanted;
      }),
    remove: (repository, digest) =>
      lock(digest, async () => {
        const result = await metadata.removeBlob(repository, digest);
        if (result === "unused") await blobs.delete(digest);
        return result;
      }),
    distrust: (digest) =>
      lock(digest, async () => {
        // Deleted meanwhile: nobody misses it.
        if (!(await metadata.hasBlob(digest)) || (await isSound(options, digest))) return false;
        await metadata.forgetBlob(digest);
        await blobs.quarantine(digest);
        onCorrupt({ digest, repositories: await metadata.listClaimants(digest, CLAIMANTS_MAX) });
        logger.error({ digest }, "blob lost or corrupt: quarantined until it is pushed again");
        return true;
      }),
    dropUnknown: (digest) => lock(digest, () => dropIfUnknown(digest)),
    sweep: async () => {
      // Metadata that knows nothing is more likely lost than right, and bytes cannot be brought back.
      if ((await metadata.listBlobs({ last: undefined, limit: 1 })).length === 0) return 0;
      let swept = 0;
      for await (const digest of blobs.listBlobs()) {
        if (await metadata.hasBlob(digest)) continue;
        // A push may be between its rename and its row: look again when it is done.
        if (await lock(digest, () => dropIfUnknown(digest))) swept += 1;
      }
      return swept;
    },
  };
}

async function isSound(
  { blobs, buffers }: Pick<StoredBlobsOptions, "blobs" | "buffers">,
  digest: Digest,
): Promise<boolean> {
  await using blob = await blobs.open(digest);
  if (blob === undefined) return false;
  try {
    const hash = await hashStored(blob, digestAlgorithm(digest), buffers);
    return hash.digest() === digest;
  } catch (error) {
    // A sector that cannot be read any more is as good as altered; anything else may pass.
    if (getErrorCode(error) === "EIO") return false;
    throw error;
  }
}
