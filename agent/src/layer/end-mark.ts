/** Proves that a decompressor in another process read a gzip blob to its very end.
 *
 * Behind the blob it is given one more gzip member, which holds the blob's digest. It gets there only when the blob is a
 * row of whole members with nothing in between or behind, each with the right checksum and size; a decompressor that takes
 * data behind a member for the end, or gives up, never prints the mark. A blob cannot hold its own digest, so it
 * cannot bring a mark of its own. */
import { closeSync, openSync, readSync } from "node:fs";
import { gzipSync } from "node:zlib";

import type { Digest } from "@strata/protocol/oci/digest";

import { malformed } from "./errors.ts";

/** What to give to the decompressor behind the blob of this digest, once the blob's bytes are known to have it. */
export function packEndMark(blob: Digest): Buffer {
  return gzipSync(blob);
}

/** A pipe holds up to 1 MiB; more at once than a processor's cache would be slower. */
const READ_BYTES = 256 * 1024;

/** Reads a decompressor's output from this pipe, and takes the mark off. Blocks. Chunks are only valid until the next one is asked for.
 * @throws LayerError LAYER_MALFORMED at the end, when the mark is not there */
export function* readInflated(pipe: string, blob: Digest): Generator<Buffer, void> {
  const fd = openSync(pipe, "r");
  try {
    yield* withoutMark(fd, Buffer.from(blob));
  } finally {
    closeSync(fd);
  }
}

function* withoutMark(fd: number, mark: Buffer): Generator<Buffer, void> {
  const buffer = Buffer.allocUnsafe(mark.length + READ_BYTES);
  let held = 0;
  for (;;) {
    const read = readSync(fd, buffer, held, READ_BYTES, null);
    if (read === 0) break;
    const end = held + read;
    const known = Math.max(0, end - mark.length);
    if (known > 0) yield buffer.subarray(0, known);
    held = end - known;
    buffer.copyWithin(0, known, end);
  }
  if (!buffer.subarray(0, held).equals(mark))
    throw malformed("the compressed data is damaged or cut off, or data follows its end");
}
