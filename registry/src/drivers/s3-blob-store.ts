import type { Digest } from "@strata/protocol/oci/digest";
import { isDigest } from "@strata/protocol/oci/digest";

import type { BlobStore, OpenBlob } from "../blob-store.ts";
import { createKeyedLock } from "../keyed-lock.ts";
import type { RegistryLogger } from "../logger.ts";
import {
  type Bucket,
  createBucket,
  defaultS3Limits,
  type S3Credentials,
  type S3Limits,
} from "./s3/bucket.ts";
import { claimBucket } from "./s3/claim.ts";
import type { S3Location } from "./s3/location.ts";
import {
  blobKey,
  emptyTrash,
  folders,
  quarantineKey,
  readRecord,
  trashKey,
  writeRecord,
} from "./s3/objects.ts";
import { openRecord } from "./s3/open-record.ts";
import { createReaders, type Readers } from "./s3/readers.ts";
import type { StoredRecord } from "./s3/record.ts";
import { removeLeftovers } from "./s3/remove-leftovers.ts";
import { createUploadStore } from "./s3/upload-store.ts";

export type S3BlobStoreOptions = {
  readonly location: S3Location;
  /** Left out, the SDK looks where every AWS tool does: environment, profile, role of the machine. */
  readonly credentials?: S3Credentials;
  /** Names the store that has the metadata of these blobs. */
  readonly storeId: string;
  /** Unguessable ids of letters, digits and hyphens, for the folders of data. */
  readonly newId: () => string;
  readonly logger: Pick<RegistryLogger, "warn">;
  /** Only what differs from the defaults. */
  readonly limits?: Partial<S3Limits>;
};

type State = {
  readonly bucket: Bucket;
  readonly silenceMsMax: number;
  readonly readers: Readers;
  readonly logger: Pick<RegistryLogger, "warn">;
};

/** Blobs in a bucket of S3. The bytes of a blob are objects that never change, and a small record says which:
 *   blobs/sha256/abcd…  the record   data/<owner>/0, 1, …  the bytes   uploads/<id>  the record of an upload
 * A blob comes to its name, and goes, by writing or deleting its record: one object, so at once. Data that nothing
 * names any more is written down in trash/ before, so that a crash leaves nothing behind for good. One process of one
 * store may use a prefix.
 * @throws S3Error STORAGE_UNAVAILABLE, STORAGE_REFUSED when the bucket cannot be used, or has another's blobs */
export async function createS3BlobStore(options: S3BlobStoreOptions): Promise<BlobStore> {
  const limits = { ...defaultS3Limits, ...options.limits };
  const { silenceMsMax } = limits;
  const { location, credentials, storeId, newId, logger } = options;
  const bucket = createBucket({
    location,
    limits,
    ...(credentials === undefined ? {} : { credentials }),
  });
  const state: State = { bucket, silenceMsMax, readers: createReaders(), logger };
  /** Records change one after the other. */
  const lock = createKeyedLock();
  const uploads = createUploadStore({
    bucket,
    limits,
    newId,
    logger,
    publish: (digest, record) => lock(digest, () => publish(state, digest, record)),
  });
  await claimBucket(bucket, location, storeId);
  await removeLeftovers({ bucket, logger });

  return {
    ...uploads,
    open: (digest) => openBlob(state, digest),
    delete: (digest) => lock(digest, () => deleteBlob(state, digest)),
    quarantine: (digest) => lock(digest, () => quarantine(state, digest)),
    listBlobs: () => listBlobs(bucket),
    close: bucket.close,
  };
}

async function openBlob(state: State, digest: Digest): Promise<OpenBlob | undefined> {
  const { bucket, silenceMsMax, readers } = state;
  readers.enter(digest);
  try {
    const record = await readRecord(bucket, blobKey(digest));
    if (record !== undefined) {
      const blob = openRecord(record, { bucket, silenceMsMax });
      return {
        ...blob,
        [Symbol.asyncDispose]: async () => {
          await blob[Symbol.asyncDispose]();
          await readers.leave(digest);
        },
      };
    }
  } catch (error) {
    await readers.leave(digest);
    throw error;
  }
  await readers.leave(digest);
  return undefined;
}

/** Gives the bytes of the record the blob's name, and takes it from those that had it. */
async function publish(state: State, digest: Digest, record: StoredRecord): Promise<void> {
  const { bucket } = state;
  const before = await readRecord(bucket, blobKey(digest));
  // The same when a commit is done again.
  const replaced = before?.owner === record.owner ? undefined : before;
  await retire(state, {
    digest,
    record: replaced,
    letGo: () => writeRecord(bucket, blobKey(digest), record),
  });
}

async function deleteBlob(state: State, digest: Digest): Promise<void> {
  const { bucket } = state;
  const key = blobKey(digest);
  const record = await readRecord(bucket, key);
  await retire(state, { digest, record, letGo: () => bucket.delete(key) });
}

async function quarantine(state: State, digest: Digest): Promise<void> {
  const { bucket } = state;
  const record = await readRecord(bucket, blobKey(digest));
  if (record === undefined) return;
  const key = quarantineKey(digest);
  const before = await readRecord(bucket, key);
  await retire(state, { digest, record: before, letGo: () => writeRecord(bucket, key, record) });
  await bucket.delete(blobKey(digest));
}

type Retirement = {
  readonly digest: Digest;
  readonly record: StoredRecord | undefined;
  /** Takes the name from the record. */
  readonly letGo: () => Promise<void>;
};

/** Lets go of a record, and deletes its data when nobody reads it any more. */
async function retire(state: State, { digest, record, letGo }: Retirement): Promise<void> {
  const { bucket, readers } = state;
  if (record === undefined || record.segments.length === 0) return letGo();
  await writeRecord(bucket, trashKey(record.owner), { ...record, digest });
  await letGo();
  await readers.whenUnread(digest, () => emptyTrash(state, record.owner));
}

async function* listBlobs(bucket: Bucket): AsyncGenerator<Digest> {
  for await (const key of bucket.list(folders.blobs)) {
    const digest = key.slice(folders.blobs.length).replace("/", ":");
    if (isDigest(digest)) yield digest;
  }
}
