import type { MetadataStore } from "../metadata-store.ts";
import { createBlobIndex } from "./sqlite/blob-index.ts";
import { openDatabase } from "./sqlite/database.ts";
import { createManifestIndex } from "./sqlite/manifest-index.ts";
import { createUploadIndex } from "./sqlite/upload-index.ts";

/** Metadata in one SQLite file, or in memory for `:memory:`. One process at a time may own the file.
 * @throws RegistryError INTERNAL when a newer version wrote the file */
export function createSqliteMetadataStore(path: string): MetadataStore {
  const { database, close } = openDatabase(path);
  return {
    ...createBlobIndex(database),
    ...createUploadIndex(database),
    ...createManifestIndex(database),
    close,
  };
}
