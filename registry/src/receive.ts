import type { OpenUpload } from "./blob-store.ts";
import { RegistryError } from "./errors.ts";
import type { ByteRange } from "./http/range.ts";
import type { RequestBody } from "./http/request-body.ts";
import type { RunningHash } from "./running-hash.ts";

/** Bytes gathered for one write: the next batch is hashed while this one goes to disk. Larger ones are no faster, and
 * cost each push under way twice their length. */
const BATCH_BYTES = 256 * 1024;
/** A client may send a byte at a time; each costs an object. */
const BATCH_PIECES = 256;

/** Part of a blob, on its way in. */
export type Chunk = {
  readonly body: RequestBody;
  /** Where the client says that it belongs. */
  readonly range: ByteRange | undefined;
};

export type ReceiveOptions = {
  readonly chunk: Chunk;
  /** Must have hashed what is stored so far. */
  readonly hash: RunningHash;
  readonly blobSizeBytesMax: number;
  /** Throws when the upload may not grow to so many bytes; asked before any of them is stored. */
  readonly admit: (sizeBytes: number) => void;
};

/** Appends a chunk to the upload and to the hash. When the client hangs up or falls silent, what came is kept; when
 * the chunk is longer or shorter than it said, none of it is.
 * @throws RegistryError SIZE_INVALID, BLOB_TOO_LARGE, and those of the body */
export async function receive(upload: OpenUpload, options: ReceiveOptions): Promise<void> {
  const { chunk, hash, blobSizeBytesMax, admit } = options;
  const start = upload.sizeBytes;
  const declared = declaredBytes(chunk);
  const sizeMax = Math.min(start + (declared ?? Infinity), blobSizeBytesMax);
  if (start + (declared ?? 0) > blobSizeBytesMax) throw tooLarge(blobSizeBytesMax);
  admit(start + (declared ?? 0));
  const complete = await appendBody(upload, { body: chunk.body, hash, sizeMax, admit });
  if (complete && (declared === undefined || upload.sizeBytes === start + declared)) return;
  await upload.truncate(start);
  if (declared === undefined) throw tooLarge(blobSizeBytesMax);
  throw new RegistryError(
    "SIZE_INVALID",
    `the chunk has not the ${declared} bytes that it declared`,
  );
}

/** @throws RegistryError SIZE_INVALID when Content-Range and Content-Length disagree */
function declaredBytes({ body, range }: Chunk): number | undefined {
  if (range === undefined) return body.lengthBytes;
  const ranged = range.end - range.start + 1;
  if (body.lengthBytes === undefined || body.lengthBytes === ranged) return ranged;
  throw new RegistryError(
    "SIZE_INVALID",
    `Content-Range has ${ranged} bytes but Content-Length ${body.lengthBytes}`,
  );
}

type AppendOptions = {
  readonly body: RequestBody;
  readonly hash: RunningHash;
  readonly sizeMax: number;
  readonly admit: (sizeBytes: number) => void;
};

/** False when the body goes on behind `sizeMax`; then it is not read to its end. */
async function appendBody(upload: OpenUpload, options: AppendOptions): Promise<boolean> {
  const { body, hash, sizeMax, admit } = options;
  let batch: Buffer[] = [];
  let batchBytes = 0;
  let writing = Promise.resolve();
  try {
    for await (const bytes of body.chunks) {
      if (hash.hashedBytes() + bytes.length > sizeMax) return false;
      admit(hash.hashedBytes() + bytes.length);
      hash.update(bytes);
      batch.push(bytes);
      batchBytes += bytes.length;
      if (batchBytes < BATCH_BYTES && batch.length < BATCH_PIECES) continue;
      await writing;
      writing = appendAndRelease(upload, batch);
      // Its failure is met by the next await; until then it must not count as unhandled.
      writing.catch(() => undefined);
      batch = [];
      batchBytes = 0;
    }
  } finally {
    await writing;
    await upload.append(batch);
  }
  return true;
}

/** The bytes are of no more use then. Left to the collector, they make it look at the whole heap every few megabytes. */
async function appendAndRelease(upload: OpenUpload, batch: readonly Buffer[]): Promise<void> {
  await upload.append(batch);
  for (const { buffer, byteLength } of batch) {
    // Only what nothing else can be a view of: a read of the socket that was a part of this body from end to end.
    if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
  }
}

function tooLarge(blobSizeBytesMax: number): RegistryError {
  return new RegistryError("BLOB_TOO_LARGE", `a blob has at most ${blobSizeBytesMax} bytes`);
}
