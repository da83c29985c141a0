/** One blob on its way from an upstream into the store, and the clients that read it meanwhile. */
import { type Digest, digestAlgorithm } from "@strata/protocol/oci/digest";

import type { OpenUpload } from "../blob-store.ts";
import { RegistryError } from "../errors.ts";
import { createRunningHash, type RunningHash } from "../running-hash.ts";
import { faulty, isUnreachable } from "./errors.ts";
import type { FindClient, MirrorParts } from "./parts.ts";
import type { MirroredRepository } from "./rules.ts";
import type { UpstreamAnswer } from "./upstream-client.ts";

export type BlobFetch = {
  /** Known once the upstream's headers are here; undefined when it does not say. Rejects as `done`. */
  readonly sizeBytes: Promise<number | undefined>;
  /** The blob is verified and stored. @throws RegistryError BLOB_UNKNOWN, UPSTREAM_…, and those of a push */
  readonly done: Promise<void>;
  /** The bytes from the first one on, as they come. The last one only when all are verified and stored: what is not
   * the blob is never completed. */
  readonly follow: () => AsyncGenerator<Buffer>;
};

export type BlobFetchOptions = MirrorParts & {
  readonly findClient: FindClient;
  /** Ends it. */
  readonly signal: AbortSignal;
};

/** Resumes after so many broken connections. */
const RESUMES_MAX = 4;
const READ_BYTES = 256 * 1024;

type State = BlobFetchOptions & {
  readonly id: string;
  readonly place: MirroredRepository;
  readonly digest: Digest;
  readonly hash: RunningHash;
  readonly progress: Progress;
};

/** What the followers wait for. */
type Progress = {
  storedBytes: number;
  upload: OpenUpload | undefined;
  /** Reads of the upload under way; it is not closed before they end. */
  reads: number;
  ended: boolean;
  /** Resolved and made anew at each step. */
  step: PromiseWithResolvers<void>;
};

/** Starts at once. Nobody needs to wait for it: it goes on when all clients have left. */
export function startBlobFetch(
  options: BlobFetchOptions,
  place: MirroredRepository,
  digest: Digest,
): BlobFetch {
  const progress: Progress = {
    storedBytes: 0,
    upload: undefined,
    reads: 0,
    ended: false,
    step: Promise.withResolvers(),
  };
  const hash = createRunningHash(digestAlgorithm(digest));
  const state: State = { ...options, id: options.newId(), place, digest, hash, progress };
  const size = Promise.withResolvers<number | undefined>();
  const done = options
    .hold(state.id, () => run(state, size.resolve))
    .finally(() => {
      progress.ended = true;
      advance(progress);
    });
  done.catch(size.reject);
  // Whoever awaits them sees their failure; nobody has to.
  size.promise.catch(() => undefined);
  return { sizeBytes: size.promise, done, follow: () => follow(state, size.promise, done) };
}

function advance(progress: Progress): void {
  progress.step.resolve();
  progress.step = Promise.withResolvers();
}

async function run(state: State, onSize: (sizeBytes: number | undefined) => void): Promise<void> {
  const { blobs, id, digest, place, hash, progress, storedBlobs, clock, quota } = state;
  try {
    await blobs.createUpload(id);
    const upload = await blobs.openUpload(id);
    if (upload === undefined) throw new TypeError("the upload that was just made is gone");
    progress.upload = upload;
    try {
      await receive(state, upload, onSize);
    } finally {
      progress.upload = undefined;
      while (progress.reads > 0) await progress.step.promise;
      await upload[Symbol.asyncDispose]();
    }
    const actual = hash.digest();
    if (actual !== digest) {
      throw faulty(place.rule.upstream, `its blob ${digest} hashes to ${actual}`);
    }
    const { repository } = place;
    const sizeBytes = progress.storedBytes;
    const blob = { repository, digest, sizeBytes, uploadId: undefined, at: clock() };
    if (!(await storedBlobs.commit(id, { ...blob, quota: quota(repository) }))) {
      throw new TypeError("an upload that was held is gone");
    }
  } catch (error) {
    await blobs.deleteUpload(id).catch(() => undefined);
    throw error;
  }
}

/** Goes on where a broken connection left off, a few times. A connection that cannot be made was tried often enough. */
async function receive(
  state: State,
  upload: OpenUpload,
  onSize: (sizeBytes: number | undefined) => void,
): Promise<void> {
  const { progress, place, logger, signal } = state;
  let total: number | undefined;
  for (let resumes = 0; ; resumes += 1) {
    const from = progress.storedBytes;
    let answered = false;
    try {
      const answer = await ask(state, from);
      answered = true;
      if (resumes === 0) {
        total = declaredBytes(state, answer);
        onSize(total);
      }
      await append(state, upload, { answer, skip: answer.status === 206 ? 0 : from });
      if (total === undefined || progress.storedBytes === total) return;
      throw faulty(place.rule.upstream, `it sent ${progress.storedBytes} bytes of ${total}`);
    } catch (error) {
      const mayGoOn = isUnreachable(error) && answered && !signal.aborted;
      if (!mayGoOn || resumes >= RESUMES_MAX) throw error;
      logger.warn({ err: error, digest: state.digest }, "fetch of a blob goes on after a break");
    }
  }
}

async function ask(state: State, from: number): Promise<UpstreamAnswer> {
  const { findClient, place, digest, signal } = state;
  const { rule, name, repository } = place;
  const answer = await findClient(rule).request({
    method: "GET",
    path: `/v2/${name}/blobs/${digest}`,
    scope: `repository:${name}:pull`,
    headers: from === 0 ? {} : { range: `bytes=${from}-` },
    signal,
  });
  const resumes =
    answer.status === 206 && answer.header("content-range")?.startsWith(`bytes ${from}-`);
  if (answer.status === 200 || (from > 0 && resumes === true)) return answer;
  answer.drop();
  if (answer.status === 404) {
    throw new RegistryError("BLOB_UNKNOWN", `${repository} has no blob ${digest}`, {
      hint: `${rule.upstream}/${name} has none`,
    });
  }
  throw faulty(rule.upstream, `it answers ${answer.status} for a blob`);
}

/** @throws RegistryError BLOB_TOO_LARGE before the first byte */
function declaredBytes({ limits }: State, answer: UpstreamAnswer): number | undefined {
  const text = answer.header("content-length") ?? "";
  const bytes = /^\d{1,15}$/.test(text) ? Number(text) : undefined;
  if (bytes !== undefined && bytes > limits.blobSizeBytesMax) {
    answer.drop();
    throw tooLarge(limits.blobSizeBytesMax);
  }
  return bytes;
}

type Coming = {
  readonly answer: UpstreamAnswer;
  /** Bytes at its beginning that are here already. */
  readonly skip: number;
};

async function append(
  { progress, hash, limits }: State,
  upload: OpenUpload,
  { answer, skip }: Coming,
): Promise<void> {
  let left = skip;
  for await (const chunk of answer.chunks()) {
    const bytes = chunk.subarray(Math.min(left, chunk.length));
    left -= chunk.length - bytes.length;
    if (bytes.length === 0) continue;
    if (progress.storedBytes + bytes.length > limits.blobSizeBytesMax) {
      throw tooLarge(limits.blobSizeBytesMax);
    }
    hash.update(bytes);
    await upload.append([bytes]);
    progress.storedBytes += bytes.length;
    advance(progress);
  }
}

function tooLarge(blobSizeBytesMax: number): RegistryError {
  return new RegistryError("BLOB_TOO_LARGE", `a blob has at most ${blobSizeBytesMax} bytes`);
}

async function* follow(
  state: State,
  size: Promise<number | undefined>,
  done: Promise<void>,
): AsyncGenerator<Buffer> {
  const { progress } = state;
  const total = await size;
  let position = 0;
  while (!progress.ended) {
    // Taken before the look, so that a step in between is not missed.
    const step = progress.step.promise;
    // Without a length the last byte is known as such only at the end.
    const end = Math.min(progress.storedBytes, (total ?? progress.storedBytes) - 1);
    const bytes = position < end ? await readUpload(progress, position, end) : undefined;
    if (bytes !== undefined) {
      position += bytes.length;
      yield bytes;
    } else await step;
  }
  await done;
  yield* readStored(state, position);
}

/** Undefined when the upload is closed, or about to be. */
async function readUpload(
  progress: Progress,
  position: number,
  end: number,
): Promise<Buffer | undefined> {
  const { upload } = progress;
  if (upload === undefined) return undefined;
  const target = Buffer.allocUnsafe(Math.min(READ_BYTES, end - position));
  progress.reads += 1;
  try {
    return target.subarray(0, await upload.read(target, position));
  } finally {
    progress.reads -= 1;
    advance(progress);
  }
}

async function* readStored({ blobs, digest }: State, from: number): AsyncGenerator<Buffer> {
  await using blob = await blobs.open(digest);
  if (blob === undefined)
    throw new RegistryError("BLOB_UNKNOWN", `${digest} was deleted meanwhile`);
  for (let position = from; position < blob.sizeBytes;) {
    const target = Buffer.allocUnsafe(Math.min(READ_BYTES, blob.sizeBytes - position));
    const count = await blob.read(target, position);
    if (count === 0) throw new RegistryError("BLOB_UNKNOWN", `${digest} is cut short`);
    position += count;
    yield target.subarray(0, count);
  }
}
