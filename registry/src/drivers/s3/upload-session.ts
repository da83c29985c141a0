import type { Digest } from "@strata/protocol/oci/digest";

import type { OpenBlob } from "../../blob-store.ts";
import type { Bucket, S3Limits } from "./bucket.ts";
import { S3Error } from "./errors.ts";
import { dataKey, uploadKey, writeRecord } from "./objects.ts";
import { openRecord } from "./open-record.ts";
import { createPartBuffer, type PartBuffer } from "./part-buffer.ts";
import { cutSegments, type OpenMultipart, recordBytes, type StoredRecord } from "./record.ts";

/** An upload as this process has it open: what the bucket has, and up to two parts in memory, one being filled while
 * the other one is sent. Its calls come one after the other: the caller sees to that. */
export type UploadSession = {
  readonly sizeBytes: () => number;
  readonly isOver: () => boolean;
  /** When it throws, `sizeBytes` may be less than before: what was in memory is given up. */
  readonly append: (chunks: readonly Uint8Array[]) => Promise<void>;
  readonly truncate: (sizeBytes: number) => Promise<void>;
  readonly read: (target: Uint8Array, position: number) => Promise<number>;
  /** Brings all that was appended into the bucket. */
  readonly flush: () => Promise<void>;
  /** Makes objects of all bytes, and writes down what they are about to become. From then on the upload is over.
   * Gives the record for the blob. */
  readonly seal: (digest: Digest) => Promise<StoredRecord>;
  /** Ends the upload, and waits until nothing is being sent any more. Gives its last record. */
  readonly end: () => Promise<StoredRecord>;
  readonly close: () => Promise<void>;
};

export type UploadSessionOptions = {
  readonly id: string;
  /** As it stands in the bucket. */
  readonly record: StoredRecord;
  readonly bucket: Bucket;
  readonly limits: Pick<S3Limits, "silenceMsMax" | "partBytes" | "partsMax">;
};

/** A shorter end stands in the record itself, and costs no object of its own. */
const INLINE_BYTES_MAX = 64 * 1024;

type State = UploadSessionOptions & {
  /** What the bucket has, with an empty tail. */
  stored: StoredRecord;
  readonly fill: PartBuffer;
  /** The part on its way, which is in neither of them. */
  sentBytes: number;
  sending: Promise<void>;
  /** Of the last part; told to whoever comes next. */
  failure: Error | undefined;
  /** Whether the record in the bucket is behind. */
  dirty: boolean;
  over: boolean;
  opened: OpenBlob | undefined;
};

export function openUploadSession(options: UploadSessionOptions): UploadSession {
  const { record } = options;
  const fill = createPartBuffer(record.multipart?.partBytes ?? options.limits.partBytes);
  fill.push(record.tail);
  const state: State = {
    ...options,
    stored: { ...record, tail: new Uint8Array() },
    fill,
    sentBytes: 0,
    sending: Promise.resolve(),
    failure: undefined,
    dirty: false,
    over: false,
    opened: undefined,
  };
  return {
    sizeBytes: () => recordBytes(state.stored) + state.sentBytes + fill.length(),
    isOver: () => state.over,
    append: (chunks) => append(state, chunks),
    truncate: (sizeBytes) => truncate(state, sizeBytes),
    read: async (target, position) => (await readable(state)).read(target, position),
    flush: async () => {
      await settled(state);
      if (state.dirty && !state.over) await save(state, fill.view());
    },
    seal: (digest) => seal(state, digest),
    end: async () => {
      state.over = true;
      await state.sending;
      return state.stored;
    },
    close: () => forgetOpened(state),
  };
}

async function append(state: State, chunks: readonly Uint8Array[]): Promise<void> {
  throwFailure(state);
  if (state.over) throw new S3Error("EIO", `upload ${state.id} is over`);
  await forgetOpened(state);
  state.dirty = true;
  for (const chunk of chunks) {
    for (let taken = 0; taken < chunk.length;) {
      taken += state.fill.push(chunk.subarray(taken));
      if (state.fill.isFull()) await send(state);
    }
  }
}

/** Sends a full part while the next one is filled; not more than one at a time. */
async function send(state: State): Promise<void> {
  await settled(state);
  const part = state.fill.take();
  state.sentBytes = part.length;
  state.sending = storePart(state, part).catch((error: unknown) => {
    state.failure = error instanceof Error ? error : new Error(String(error));
    // What follows a part that is missing cannot be kept.
    state.sentBytes = 0;
    state.fill.truncate(0);
  });
}

async function storePart(state: State, part: Uint8Array): Promise<void> {
  const { bucket, stored, limits } = state;
  const { owner, segments } = stored;
  const multipart = stored.multipart ?? {
    ...(await bucket.createMultipart(dataKey(owner, segments.length))),
    partBytes: part.length,
    etags: [],
  };
  const number = multipart.etags.length + 1;
  const etag = await bucket.putPart(multipart, { number, body: part });
  if (etag === undefined) return giveUpParts(state);
  state.stored = { ...stored, multipart: { ...multipart, etags: [...multipart.etags, etag] } };
  state.sentBytes = 0;
  if (number >= limits.partsMax) await complete(state);
  await save(state);
  // The bytes after this part are not written down yet.
  state.dirty = true;
}

async function settled(state: State): Promise<void> {
  await state.sending;
  throwFailure(state);
}

function throwFailure(state: State): void {
  const { failure } = state;
  if (failure === undefined) return;
  state.failure = undefined;
  throw failure;
}

async function save(state: State, tail: Uint8Array = new Uint8Array()): Promise<void> {
  await writeRecord(state.bucket, uploadKey(state.id), { ...state.stored, tail });
  state.dirty = false;
}

/** Makes one object of the parts, and of `last` if there is any. Parts cannot be read before. */
async function complete(state: State, last: Uint8Array = new Uint8Array()): Promise<void> {
  const { bucket, stored } = state;
  const { multipart, segments } = stored;
  if (multipart === undefined) return;
  const { key, partBytes, etags } = multipart;
  const sizeBytes = etags.length * partBytes + last.length;
  const all = await putLast(bucket, multipart, last);
  const done = all !== undefined && (await bucket.completeMultipart(multipart, all));
  // It may have been done before a crash, and not been written down; then it may have had a last part as well.
  if (!done && ((await bucket.sizeOf(key)) ?? -1) < sizeBytes) return giveUpParts(state);
  state.stored = {
    ...stored,
    multipart: undefined,
    segments: [...segments, { key, sizeBytes }],
  };
  state.dirty = true;
}

/** Gives the ETags of all parts; undefined when the multipart upload is gone. */
async function putLast(
  bucket: Bucket,
  multipart: OpenMultipart,
  last: Uint8Array,
): Promise<readonly string[] | undefined> {
  const { etags } = multipart;
  if (last.length === 0) return etags;
  const etag = await bucket.putPart(multipart, { number: etags.length + 1, body: last });
  return etag === undefined ? undefined : [...etags, etag];
}

/** The parts are gone: a rule of the bucket may delete what is unfinished for long. What came before them is kept,
 * and the client is told so when it asks where to go on. */
async function giveUpParts(state: State): Promise<never> {
  const { stored, fill, id } = state;
  state.stored = { ...stored, multipart: undefined };
  state.sentBytes = 0;
  fill.truncate(0);
  await save(state);
  throw new S3Error("STORAGE_UNAVAILABLE", `the bucket has lost parts of upload ${id}`, {
    retryable: true,
    hint: "ask for the upload's status and resume after the last byte stored",
  });
}

async function readable(state: State): Promise<OpenBlob> {
  await settled(state);
  if (state.opened !== undefined) return state.opened;
  const { stored, fill, limits, bucket } = state;
  if (stored.multipart !== undefined) {
    await complete(state);
    await save(state, fill.view());
  }
  const { owner, segments, digest } = state.stored;
  state.opened = openRecord(
    { owner, segments, digest, tail: fill.view() },
    { bucket, silenceMsMax: limits.silenceMsMax },
  );
  return state.opened;
}

async function forgetOpened(state: State): Promise<void> {
  await state.opened?.[Symbol.asyncDispose]();
  state.opened = undefined;
}

async function truncate(state: State, sizeBytes: number): Promise<void> {
  await settled(state);
  await forgetOpened(state);
  const storedBytes = recordBytes(state.stored);
  if (sizeBytes >= storedBytes) {
    state.fill.truncate(sizeBytes - storedBytes);
    state.dirty = true;
    return;
  }
  await complete(state);
  const { stored } = state;
  state.stored = { ...stored, segments: cutSegments(stored.segments, sizeBytes) };
  state.fill.truncate(0);
  // At once: the next object takes the name of one that the old record has.
  await save(state);
}

async function seal(state: State, digest: Digest): Promise<StoredRecord> {
  await settled(state);
  await forgetOpened(state);
  const { bucket, fill, stored } = state;
  const { owner, segments } = stored;
  if (stored.multipart !== undefined) {
    await complete(state, fill.view());
    fill.truncate(0);
  } else if (fill.length() > INLINE_BYTES_MAX) {
    const key = dataKey(owner, segments.length);
    await bucket.put(key, fill.view());
    state.stored = { ...stored, segments: [...segments, { key, sizeBytes: fill.length() }] };
    fill.truncate(0);
  }
  state.over = true;
  const record = { ...state.stored, digest, tail: fill.view() };
  // Whoever finds this has to ask first whether the blob has the data now. Without data there is nothing to lose.
  if (record.segments.length > 0) await writeRecord(bucket, uploadKey(state.id), record);
  return record;
}
