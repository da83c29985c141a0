import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import type { BlobStore } from "./blob-store.ts";
import { createFsBlobStore } from "./drivers/fs-blob-store.ts";
import type { S3Location } from "./drivers/s3/location.ts";
import type { RegistryLimits } from "./limits.ts";
import type { RegistryLogger } from "./logger.ts";
import { readFileIfThere, writeFileDurably } from "./serve/durable-file.ts";

export type OpenBlobsOptions = {
  /** The store's folder on this machine; the metadata is always there, the blobs unless there is a bucket. */
  readonly folder: string;
  readonly bucket: S3Location | undefined;
  /** Unguessable ids of letters, digits and hyphens. */
  readonly newId: () => string;
  readonly logger: Pick<RegistryLogger, "warn">;
};

/** Each push under way holds two parts in memory; a thousand as from a disk would be 16 GiB. */
const BUCKET_BODIES_MAX = 64;

/** Opens the blobs of a store, and says which limits that driver needs. The driver of S3, with
 * Amazon's SDK, is loaded only when there is a bucket.
 * @throws S3Error when the bucket cannot be used */
export async function openBlobs({ folder, bucket, newId, logger }: OpenBlobsOptions): Promise<{
  readonly blobs: BlobStore;
  readonly limits: Partial<RegistryLimits>;
}> {
  if (bucket === undefined) return { blobs: await createFsBlobStore(folder), limits: {} };
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { createS3BlobStore } = await import("./drivers/s3-blob-store.ts");
  return {
    blobs: await createS3BlobStore({
      location: bucket,
      storeId: ensureStoreId(join(folder, "store-id"), newId),
      newId,
      logger,
    }),
    limits: { bodiesAtOnceMax: BUCKET_BODIES_MAX },
  };
}

/** Lies beside the metadata, so that it is lost, kept and restored with it. */
function ensureStoreId(path: string, newId: () => string): string {
  const known = readFileIfThere(path);
  if (known !== undefined) return known;
  const id = newId();
  writeFileDurably(path, id);
  return id;
}
