import { getErrorCode } from "@strata/protocol/errors";
import { type Digest, type DigestAlgorithm, digestAlgorithm } from "@strata/protocol/oci/digest";

import type { BlobStore, OpenUpload } from "./blob-store.ts";
import type { BufferPool } from "./buffer-pool.ts";
import { isDiskFull } from "./disk-full.ts";
import { RegistryError } from "./errors.ts";
import { uploadHeaders } from "./http/upload-headers.ts";
import type { RegistryLimits } from "./limits.ts";
import { createLiveUploads, type LiveUpload, type LiveUploads } from "./live-uploads.ts";
import type { MetadataStore, UploadRecord } from "./metadata-store.ts";
import { createQuotaGuard, type FindQuota, type QuotaGuard } from "./quota.ts";
import { type Chunk, receive } from "./receive.ts";
import { hashStored } from "./running-hash.ts";
import type { StoredBlobs } from "./stored-blobs.ts";

/** An upload as a request names it. One of another repository or subject is as good as unknown. */
export type UploadKey = {
  readonly id: string;
  readonly repository: string;
  readonly subject: string;
};

export type FinishUpload = { readonly digest: Digest; readonly chunk: Chunk };
export type WholeBlob = FinishUpload & Pick<UploadKey, "repository" | "subject">;

/** Uploads under way. They live in the stores, so they outlast a restart; here is only what makes them quick. */
export type Uploads = {
  /** Gives the id. @throws RegistryError TOOMANYREQUESTS */
  readonly start: (owner: Omit<UploadKey, "id">, algorithm: DigestAlgorithm) => Promise<string>;
  /** Bytes stored. */
  readonly status: (key: UploadKey) => Promise<number>;
  /** Gives the bytes stored. @throws RegistryError RANGE_INVALID when the chunk does not come next */
  readonly append: (key: UploadKey, chunk: Chunk) => Promise<number>;
  /** Takes the last chunk, which may be empty, and makes the blob. After DIGEST_INVALID the upload is gone. */
  readonly finish: (key: UploadKey, last: FinishUpload) => Promise<void>;
  /** Receives a blob in one go, with no upload to resume. */
  readonly receiveWhole: (whole: WholeBlob) => Promise<void>;
  readonly cancel: (key: UploadKey) => Promise<void>;
  /** Keeps a file of this id from the sweep while the body runs. */
  readonly hold: <Result>(id: string, body: () => Promise<Result>) => Promise<Result>;
  /** Forgets uploads that nobody touched for `uploadAgeMsMax`, and files that a crash left; gives their number. */
  readonly sweep: () => Promise<number>;
};

export type UploadsOptions = {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly storedBlobs: StoredBlobs;
  readonly buffers: BufferPool;
  readonly limits: RegistryLimits;
  readonly quota: FindQuota;
  readonly clock: () => number;
  readonly newId: () => string;
};

/** A touch costs a commit; expiry is counted in hours. */
const TOUCH_AFTER_MS = 60_000;
const SWEEP_BATCH = 500;
const RETRY_AFTER_SECONDS = "30";

type State = UploadsOptions & {
  readonly live: LiveUploads;
  readonly room: QuotaGuard;
  /** Bodies being received now. */
  readonly bodies: { count: number };
};

type Place = Omit<UploadKey, "subject">;
type Finish = FinishUpload & {
  /** The record to forget with it; undefined when there is none. */
  readonly uploadId: string | undefined;
};

export function createUploads(options: UploadsOptions): Uploads {
  const state: State = {
    ...options,
    live: createLiveUploads(),
    room: createQuotaGuard(options.metadata, options.quota),
    bodies: { count: 0 },
  };
  const { blobs, metadata, live, clock } = state;
  return {
    start: (owner, algorithm) => start(state, owner, algorithm),
    status: async (key) => {
      await requireRecord(state, key);
      await using file = await requireFile(blobs, key.id);
      return file.sizeBytes;
    },
    append: async (key, chunk) => {
      const { updatedAt } = await requireRecord(state, key);
      return writing(state, key.id, async (upload) => {
        await using file = await requireFile(blobs, key.id);
        await receiveChunk(state, upload, { place: key, file, chunk });
        if (clock() - updatedAt > TOUCH_AFTER_MS) await metadata.touchUpload(key.id, clock());
        return file.sizeBytes;
      });
    },
    finish: async (key, last) => {
      await requireRecord(state, key);
      await writing(state, key.id, (upload) =>
        finish(state, upload, { ...last, place: key, uploadId: key.id }),
      );
    },
    receiveWhole: (whole) => receiveWhole(state, whole),
    cancel: async (key) => {
      await requireRecord(state, key);
      await discard(state, key.id);
    },
    hold: async (id, body) => {
      live.add(id, "sha256");
      try {
        return await body();
      } finally {
        live.remove(id);
      }
    },
    sweep: async () =>
      (await sweepExpired(state)) + (await sweepOrphans({ blobs, metadata, live })),
  };
}

async function start(
  state: State,
  { repository, subject }: Omit<UploadKey, "id">,
  algorithm: DigestAlgorithm,
): Promise<string> {
  const { blobs, metadata, live, limits, clock, newId } = state;
  if ((await metadata.countUploads(subject)) >= limits.uploadsPerSubjectMax) {
    throw tooMany("uploads are unfinished");
  }
  const id = newId();
  // Known as live before there is a file, so that no sweep takes the file for an orphan.
  live.add(id, algorithm);
  try {
    await blobs.createUpload(id);
    await metadata.putUpload({ id, repository, subject, updatedAt: clock() });
  } catch (error) {
    await discard(state, id).catch(() => undefined);
    throw error;
  }
  return id;
}

/** A blob that comes in one request needs no record: if anything fails, the client sends it all again. */
async function receiveWhole(state: State, { repository, digest, chunk }: WholeBlob): Promise<void> {
  const id = state.newId();
  try {
    await state.live.exclusively(id, async (upload) => {
      await state.blobs.createUpload(id);
      await finish(state, upload, {
        digest,
        chunk,
        place: { id, repository },
        uploadId: undefined,
      });
    });
  } catch (error) {
    await discard(state, id).catch(() => undefined);
    throw error;
  }
}

/** Writes to an upload alone; gives it up when the disk is full, or what its owner may have. */
async function writing<Result>(
  state: State,
  id: string,
  body: (upload: LiveUpload) => Promise<Result>,
): Promise<Result> {
  try {
    return await state.live.exclusively(id, body);
  } catch (error) {
    // The client cannot go on without space, and what is kept would only make it scarcer.
    if (isDiskFull(error) || getErrorCode(error) === "DENIED")
      await discard(state, id).catch(() => undefined);
    throw error;
  }
}

type Reception = { readonly place: Place; readonly file: OpenUpload; readonly chunk: Chunk };

async function receiveChunk(
  { bodies, limits, buffers, room }: State,
  upload: LiveUpload,
  { place, file, chunk }: Reception,
): Promise<void> {
  if (chunk.range !== undefined && chunk.range.start !== file.sizeBytes) {
    throw outOfOrder(place, file.sizeBytes);
  }
  if (bodies.count >= limits.bodiesAtOnceMax) throw tooMany("blobs are being received");
  bodies.count += 1;
  try {
    const admit = await room.enter(place);
    // After a restart, or a chunk that was taken back, the hash has to be brought to where the file is.
    const hash =
      upload.hash?.hashedBytes() === file.sizeBytes
        ? upload.hash
        : await hashStored(file, upload.algorithm, buffers);
    upload.hash = hash;
    await receive(file, { chunk, hash, blobSizeBytesMax: limits.blobSizeBytesMax, admit });
  } finally {
    room.settle(place, file.sizeBytes);
    bodies.count -= 1;
  }
}

async function finish(
  state: State,
  upload: LiveUpload,
  { digest, chunk, place, uploadId }: Finish & { readonly place: Place },
): Promise<void> {
  const { blobs, storedBlobs, live, room, clock, quota } = state;
  const { id, repository } = place;
  await using file = await requireFile(blobs, id);
  const algorithm = digestAlgorithm(digest);
  if (file.sizeBytes === 0 && upload.algorithm !== algorithm) {
    upload.algorithm = algorithm;
    upload.hash = undefined;
  }
  if (chunk.range !== undefined || chunk.body.lengthBytes !== 0) {
    await receiveChunk(state, upload, { place, file, chunk });
  }
  const actual = await digestOf(state, upload, { file, algorithm });
  if (actual !== digest) {
    await discard(state, id);
    throw new RegistryError("DIGEST_INVALID", `the bytes received hash to ${actual}`, {
      hint: "push the blob again, by the digest of exactly the bytes that are sent",
    });
  }
  const blob = { repository, digest, sizeBytes: file.sizeBytes, uploadId, at: clock() };
  if (!(await storedBlobs.commit(id, { ...blob, quota: quota(repository) }))) throw unknownUpload();
  live.remove(id);
  room.leave(id);
}

/** Ends the running hash if it is the right one, or reads all the bytes again. */
async function digestOf(
  { buffers }: State,
  upload: LiveUpload,
  { file, algorithm }: { readonly file: OpenUpload; readonly algorithm: DigestAlgorithm },
): Promise<Digest> {
  const { hash } = upload;
  upload.hash = undefined;
  const usable = hash?.algorithm === algorithm && hash.hashedBytes() === file.sizeBytes;
  return (usable ? hash : await hashStored(file, algorithm, buffers)).digest();
}

async function discard({ blobs, metadata, live, room }: State, id: string): Promise<void> {
  live.remove(id);
  room.leave(id);
  await blobs.deleteUpload(id);
  await metadata.removeUpload(id);
}

async function sweepExpired(state: State): Promise<number> {
  const { metadata, live, limits, clock } = state;
  const before = clock() - limits.uploadAgeMsMax;
  let swept = 0;
  for (;;) {
    const expired = await metadata.listUploadsBefore(before, SWEEP_BATCH);
    const idle = expired.filter((id) => !live.isBusy(id));
    for (const id of idle) await discard(state, id);
    swept += idle.length;
    if (expired.length < SWEEP_BATCH || idle.length === 0) return swept;
  }
}

/** Files that a crash left between the file and its record. */
async function sweepOrphans({
  blobs,
  metadata,
  live,
}: Pick<State, "blobs" | "metadata" | "live">): Promise<number> {
  let swept = 0;
  for (const id of await blobs.listUploads()) {
    if (live.has(id) || (await metadata.findUpload(id)) !== undefined) continue;
    await blobs.deleteUpload(id);
    swept += 1;
  }
  return swept;
}

async function requireRecord({ metadata }: State, key: UploadKey): Promise<UploadRecord> {
  const record = await metadata.findUpload(key.id);
  if (record?.repository === key.repository && record.subject === key.subject) return record;
  throw unknownUpload();
}

async function requireFile(blobs: BlobStore, id: string): Promise<OpenUpload> {
  const upload = await blobs.openUpload(id);
  if (upload === undefined) throw unknownUpload();
  return upload;
}

function unknownUpload(): RegistryError {
  return new RegistryError("BLOB_UPLOAD_UNKNOWN", "there is no such upload in this repository", {
    hint: "it may have expired: start the upload anew",
  });
}

function outOfOrder(place: Place, storedBytes: number): RegistryError {
  return new RegistryError("RANGE_INVALID", `the next byte of this upload is byte ${storedBytes}`, {
    hint: "go on after the last byte of the Range header",
    headers: uploadHeaders({ ...place, storedBytes }),
  });
}

function tooMany(what: string): RegistryError {
  return new RegistryError("TOOMANYREQUESTS", `too many ${what}`, {
    hint: "finish or cancel some, or try again later",
    headers: { "retry-after": RETRY_AFTER_SECONDS },
  });
}
