import { join } from "node:path";

import type { BlobStore } from "../blob-store.ts";
import { createFsBlobStore } from "../drivers/fs-blob-store.ts";
import {
  createSqliteMetadataStore,
  type SqliteMetadataOptions,
} from "../drivers/sqlite-metadata-store.ts";
import type { MetadataStore } from "../metadata-store.ts";

export type StoreFolder = { readonly blobs: BlobStore; readonly metadata: MetadataStore };

/** The file of the metadata in a store's folder. */
export function databaseIn(data: string): string {
  return join(data, "store.db");
}

/** Opens the folder of a store that nobody else has open. @throws RegistryError INTERNAL when somebody has */
export async function openFolder(
  data: string,
  onRecovered: NonNullable<SqliteMetadataOptions["onRecovered"]>,
): Promise<StoreFolder> {
  const metadata = createSqliteMetadataStore(databaseIn(data), { onRecovered });
  try {
    return { blobs: await createFsBlobStore(data), metadata };
  } catch (error) {
    metadata.close();
    throw error;
  }
}
