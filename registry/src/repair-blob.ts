import { type Digest, digestAlgorithm } from "@strata/protocol/oci/digest";

import type { BlobWriter } from "./blob-store.ts";
import type { RegistryLogger } from "./logger.ts";
import { createRunningHash } from "./running-hash.ts";
import type { StoredBlobs } from "./stored-blobs.ts";

/** Brings a lost blob back for all repositories that claim it. False when nobody has it whole; never throws. */
export type RepairBlob = (digest: Digest) => Promise<boolean>;

/** Given by the embedder: the bytes from elsewhere, such as a node's cache; undefined when nobody has them. What it
 * gives is hashed before it counts, so it need not be trusted. */
export type FindBlobElsewhere = (digest: Digest) => Promise<AsyncIterable<Uint8Array> | undefined>;

export type RepairOptions = {
  readonly blobs: BlobWriter;
  readonly storedBlobs: Pick<StoredBlobs, "restore">;
  readonly findElsewhere: FindBlobElsewhere | undefined;
  readonly blobSizeBytesMax: number;
  readonly newId: () => string;
  readonly clock: () => number;
  readonly logger: RegistryLogger;
  /** Keep these uploads from the sweep while they are written. */
  readonly hold: <Result>(id: string, body: () => Promise<Result>) => Promise<Result>;
};

export function createRepair(options: RepairOptions): RepairBlob {
  const { findElsewhere, newId, logger, blobs, hold } = options;
  return async (digest) => {
    if (findElsewhere === undefined) return false;
    const id = newId();
    return hold(id, async () => {
      try {
        const source = await findElsewhere(digest);
        return source !== undefined && (await restore(options, { id, digest, source }));
      } catch (err) {
        logger.warn({ err, digest }, "blob not repaired");
        return false;
      } finally {
        await blobs.deleteUpload(id).catch(() => undefined);
      }
    });
  };
}

type Source = {
  readonly id: string;
  readonly digest: Digest;
  readonly source: AsyncIterable<Uint8Array>;
};

async function restore(options: RepairOptions, { id, digest, source }: Source): Promise<boolean> {
  const { blobs, storedBlobs, blobSizeBytesMax, clock, logger } = options;
  await blobs.createUpload(id);
  const hash = createRunningHash(digestAlgorithm(digest));
  {
    await using upload = await blobs.openUpload(id);
    if (upload === undefined) return false;
    for await (const bytes of source) {
      if (hash.hashedBytes() + bytes.length > blobSizeBytesMax) return false;
      hash.update(bytes);
      await upload.append([bytes]);
    }
  }
  const sizeBytes = hash.hashedBytes();
  if (hash.digest() !== digest) {
    logger.warn({ digest }, "the source of a repair gave other bytes");
    return false;
  }
  if (!(await storedBlobs.restore(id, { digest, sizeBytes, at: clock() }))) return false;
  logger.warn({ digest }, "blob repaired");
  return true;
}
