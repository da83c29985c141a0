import type { MetadataStore } from "../metadata-store.ts";
import { createBlobIndex } from "./sqlite/blob-index.ts";
import { openDatabase } from "./sqlite/database.ts";
import { createGarbageIndex } from "./sqlite/garbage-index.ts";
import { createManifestIndex } from "./sqlite/manifest-index.ts";
import { createScrubIndex } from "./sqlite/scrub-index.ts";
import { createUploadIndex } from "./sqlite/upload-index.ts";
import { createUsageIndex } from "./sqlite/usage-index.ts";

/** Metadata in one SQLite file, or in memory for `:memory:`. One owner at a time.
 * @throws RegistryError INTERNAL when a newer version wrote the file, or another process still has it after
 * `busyTimeoutMs` [5 s] */
export function createSqliteMetadataStore(
  path: string,
  options: { readonly busyTimeoutMs?: number } = {},
): MetadataStore {
  const { database, close } = openDatabase(path, options);
  return {
    ...createBlobIndex(database),
    ...createUploadIndex(database),
    ...createManifestIndex(database),
    ...createGarbageIndex(database),
    ...createUsageIndex(database),
    ...createScrubIndex(database),
    close,
  };
}
