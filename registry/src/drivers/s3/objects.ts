import { type Digest, digestAlgorithm, digestHex } from "@strata/protocol/oci/digest";

import type { RegistryLogger } from "../../logger.ts";
import type { Bucket } from "./bucket.ts";
import { encodeRecord, parseRecord, type StoredRecord } from "./record.ts";

/** What each object below the prefix is for. */
export const folders = {
  /** Records of blobs, by digest. */
  blobs: "blobs/",
  /** Records of uploads under way, by id. */
  uploads: "uploads/",
  /** Records of blobs that were found damaged. */
  quarantine: "quarantine/",
  /** Records whose data is being deleted, by owner. */
  trash: "trash/",
  /** The bytes: one folder for each owner. */
  data: "data/",
} as const;

export function blobKey(digest: Digest): string {
  return `${folders.blobs}${digestAlgorithm(digest)}/${digestHex(digest)}`;
}

export function quarantineKey(digest: Digest): string {
  return `${folders.quarantine}${digestAlgorithm(digest)}-${digestHex(digest)}`;
}

export function uploadKey(id: string): string {
  if (/^[A-Za-z0-9-]{1,64}$/.test(id)) return `${folders.uploads}${id}`;
  throw new TypeError("an upload id is made of letters, digits and hyphens");
}

export function trashKey(owner: string): string {
  return `${folders.trash}${owner}`;
}

/** The `index`-th object of an owner. */
export function dataKey(owner: string, index: number): string {
  return `${dataFolder(owner)}${index}`;
}

function dataFolder(owner: string): string {
  return `${folders.data}${owner}/`;
}

/** Undefined when there is none, or none that can be understood: whoever looks for it then takes it for lost.
 * @throws S3Error STORAGE_REFUSED when a later version wrote it */
export async function readRecord(bucket: Bucket, key: string): Promise<StoredRecord | undefined> {
  const bytes = await bucket.getWhole(key);
  return bytes === undefined ? undefined : parseRecord(bytes, key);
}

export function writeRecord(bucket: Bucket, key: string, record: StoredRecord): Promise<void> {
  return bucket.put(key, encodeRecord(record));
}

/** Deletes all data of an owner, and then its record in the trash. A failure leaves that for the next start. */
export async function emptyTrash(
  { bucket, logger }: { readonly bucket: Bucket; readonly logger: Pick<RegistryLogger, "warn"> },
  owner: string,
): Promise<void> {
  try {
    await deleteData(bucket, owner);
    await bucket.delete(trashKey(owner));
  } catch (err) {
    logger.warn({ err, owner }, "data in the bucket waits for the next start to be deleted");
  }
}

export async function deleteData(bucket: Bucket, owner: string): Promise<void> {
  for await (const key of bucket.list(dataFolder(owner))) await bucket.delete(key);
}
