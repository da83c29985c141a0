import type { Digest } from "@strata/protocol/oci/digest";

import type { BlobStore, OpenUpload } from "../../blob-store.ts";
import { createKeyedLock } from "../../keyed-lock.ts";
import type { RegistryLogger } from "../../logger.ts";
import type { Bucket, S3Limits } from "./bucket.ts";
import { blobKey, deleteData, folders, readRecord, uploadKey, writeRecord } from "./objects.ts";
import type { StoredRecord } from "./record.ts";
import { openUploadSession, type UploadSession } from "./upload-session.ts";

export type UploadStoreOptions = {
  readonly bucket: Bucket;
  readonly limits: S3Limits;
  readonly newId: () => string;
  readonly logger: Pick<RegistryLogger, "warn">;
  /** Makes the record that of the blob. */
  readonly publish: (digest: Digest, record: StoredRecord) => Promise<void>;
};

type UploadStore = Pick<
  BlobStore,
  "createUpload" | "openUpload" | "commitUpload" | "deleteUpload" | "listUploads"
>;

/** An upload that is open here, by how many. What is in memory belongs to all of them. */
type Shared = { readonly session: UploadSession; handles: number };

type State = UploadStoreOptions & { readonly open: Map<string, Shared> };

/** Uploads as records of the bucket. Calls for the same upload wait for each other. */
export function createUploadStore(options: UploadStoreOptions): UploadStore {
  const state: State = { ...options, open: new Map() };
  const lock = createKeyedLock();
  const { bucket } = options;
  return {
    createUpload: (id) => lock(id, () => createUpload(state, id)),
    openUpload: (id) =>
      lock(id, async () => {
        const shared = state.open.get(id) ?? (await loadUpload(state, id));
        if (shared === undefined || shared.session.isOver()) return undefined;
        shared.handles += 1;
        state.open.set(id, shared);
        return createHandle(state, { id, shared, inTurn: (body) => lock(id, body) });
      }),
    commitUpload: (id, digest) => lock(id, () => commitUpload(state, id, digest)),
    deleteUpload: (id) => lock(id, () => deleteUpload(state, id)),
    listUploads: async () => {
      const keys = await Array.fromAsync(bucket.list(folders.uploads));
      return keys.map((key) => key.slice(folders.uploads.length));
    },
  };
}

async function createUpload({ bucket, newId }: State, id: string): Promise<void> {
  const key = uploadKey(id);
  // Not every server knows conditional writes; one process and ids that are never used twice do without them.
  if ((await bucket.sizeOf(key)) !== undefined) {
    throw Object.assign(new Error(`upload ${id} exists`), { code: "EEXIST" });
  }
  await writeRecord(bucket, key, {
    owner: newId(),
    segments: [],
    multipart: undefined,
    digest: undefined,
    tail: new Uint8Array(),
  });
}

async function loadUpload(state: State, id: string): Promise<Shared | undefined> {
  const { bucket, limits } = state;
  const record = await readRecord(bucket, uploadKey(id));
  // One that was about to become a blob may share its data with it. It is for `deleteUpload` to tell.
  if (record === undefined || record.digest !== undefined) return undefined;
  return { session: openUploadSession({ id, record, bucket, limits }), handles: 0 };
}

type HandleOptions = {
  readonly id: string;
  readonly shared: Shared;
  readonly inTurn: <Result>(body: () => Promise<Result>) => Promise<Result>;
};

function createHandle(state: State, { id, shared, inTurn }: HandleOptions): OpenUpload {
  const { session } = shared;
  let wrote = false;
  let failed = false;
  /** Who was told of a failure does not have to hear it again from the end. */
  const tell = async <Result>(body: () => Promise<Result>): Promise<Result> => {
    try {
      return await inTurn(body);
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  return {
    get sizeBytes() {
      return session.sizeBytes();
    },
    read: (target, position) => tell(() => session.read(target, position)),
    append: (chunks) => {
      wrote = true;
      return tell(() => session.append(chunks));
    },
    truncate: (sizeBytes) => {
      wrote = true;
      return tell(() => session.truncate(sizeBytes));
    },
    [Symbol.asyncDispose]: () =>
      inTurn(async () => {
        try {
          if (wrote) await session.flush();
        } catch (err) {
          if (!failed) throw err;
          state.logger.warn({ err, upload: id }, "the last bytes of an upload were not kept");
        } finally {
          shared.handles -= 1;
          if (shared.handles === 0) {
            if (state.open.get(id) === shared) state.open.delete(id);
            await session.close();
          }
        }
      }),
  };
}

async function commitUpload(state: State, id: string, digest: Digest): Promise<boolean> {
  const { bucket, publish, logger } = state;
  const shared = state.open.get(id) ?? (await loadUpload(state, id));
  if (shared === undefined) return false;
  await publish(digest, await shared.session.seal(digest));
  state.open.delete(id);
  // It says itself that it is over, so it may also wait for the sweep.
  await bucket
    .delete(uploadKey(id))
    .catch((err: unknown) => logger.warn({ err, upload: id }, "the record of an upload stays"));
  return true;
}

async function deleteUpload(state: State, id: string): Promise<void> {
  const { bucket } = state;
  const unfinished = await state.open.get(id)?.session.end();
  state.open.delete(id);
  const record = await readRecord(bucket, uploadKey(id));
  if (record === undefined) return;
  const { owner, digest } = record;
  const blob = digest === undefined ? undefined : await readRecord(bucket, blobKey(digest));
  if (blob?.owner !== owner) {
    const { multipart } = unfinished ?? record;
    if (multipart !== undefined) await bucket.abortMultipart(multipart);
    await deleteData(bucket, owner);
  }
  await bucket.delete(uploadKey(id));
}
