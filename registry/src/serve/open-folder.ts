import { join } from "node:path";

import type { BlobStore } from "../blob-store.ts";
import {
  createSqliteMetadataStore,
  type SqliteMetadataOptions,
} from "../drivers/sqlite-metadata-store.ts";
import type { RegistryLimits } from "../limits.ts";
import type { MetadataStore } from "../metadata-store.ts";
import { openBlobs, type OpenBlobsOptions } from "../open-blobs.ts";

export type StoreFolder = {
  readonly blobs: BlobStore;
  readonly limits: Partial<RegistryLimits>;
  readonly metadata: MetadataStore;
};

/** The file of the metadata in a store's folder. */
export function databaseIn(data: string): string {
  return join(data, "store.db");
}

/** Opens the folder of a store that nobody else has open, and its blobs, there or in a bucket.
 * @throws RegistryError INTERNAL when somebody has it open, S3Error when the bucket cannot be used */
export async function openFolder(
  place: OpenBlobsOptions,
  onRecovered: NonNullable<SqliteMetadataOptions["onRecovered"]>,
): Promise<StoreFolder> {
  const metadata = createSqliteMetadataStore(databaseIn(place.folder), { onRecovered });
  try {
    return { ...(await openBlobs(place)), metadata };
  } catch (error) {
    metadata.close();
    throw error;
  }
}
