/** Proves that a decompressor in another process read a gzip blob to its very end.
 *
 * Behind the blob it is given one more gzip member, which holds the blob's digest. It gets there only when the blob is a
 * row of whole members with nothing in between or behind, each with the right checksum and size; a decompressor that takes
 * data behind a member for the end, or gives up, never prints the mark. A blob cannot hold its own digest, so it
 * cannot bring a mark of its own. */
import { closeSync, openSync, read } from "node:fs";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

import type { Digest } from "@strata/protocol/oci/digest";

import { malformed } from "./errors.ts";

/** What to give to the decompressor behind the blob of this digest, once the blob's bytes are known to have it. */
export function packEndMark(blob: Digest): Buffer {
  return gzipSync(blob);
}

/** The pipe of `inflateApart` holds 1 MiB; more at once than a processor's cache would be slower. */
const READ_BYTES = 256 * 1024;

/** Reads a decompressor's output from a pipe, and takes the mark off. A chunk is only valid until the next one is asked
 * for, but that one is read meanwhile, on another thread: the caller may block this one.
 * @throws LayerError LAYER_MALFORMED at the end, when the mark is not there */
export async function* readInflated(pipe: string, blob: Digest): AsyncGenerator<Buffer, void> {
  const fd = openSync(pipe, "r");
  try {
    yield* withoutMark(fd, Buffer.from(blob));
  } finally {
    // Not by a FileHandle, whose closing would wait for a read that nobody wants any more.
    closeSync(fd);
  }
}

async function* withoutMark(fd: number, mark: Buffer): AsyncGenerator<Buffer, void> {
  const aChunk = (): Buffer => Buffer.allocUnsafe(mark.length + READ_BYTES);
  let [here, there] = [aChunk(), aChunk()];
  /** What may be a part of the mark goes to the front of the next chunk. */
  let held: Buffer = Buffer.alloc(0);
  let reading = readBehind(mark, fd, here);
  for (let size = await reading; size > 0; size = await reading) {
    const start = mark.length - held.length;
    held.copy(here, start);
    const end = mark.length + size;
    const known = Math.max(start, end - mark.length);
    held = here.subarray(known, end);
    reading = readBehind(mark, fd, there);
    // Nobody waits for it when the caller gives up.
    reading.catch(() => undefined);
    if (known > start) yield here.subarray(start, known);
    [here, there] = [there, here];
  }
  if (!held.equals(mark))
    throw malformed("the compressed data is damaged or cut off, or data follows its end");
}

const readAsync = promisify(read);

async function readBehind(mark: Buffer, fd: number, into: Buffer): Promise<number> {
  return (await readAsync(fd, into, mark.length, READ_BYTES, null)).bytesRead;
}
