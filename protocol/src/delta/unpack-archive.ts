import { gunzipSync, zstdDecompressSync } from "node:zlib";

import { ParseError } from "../coded-error.ts";

/** Larger archives take too much memory to be compared. */
export const ARCHIVE_BYTES_MAX = 512 * 1024 * 1024;

const ZSTD_MAGIC = 0xfd2fb528;

/** A layer's archive out of its blob, whole: deltas between archives are far smaller than those between blobs, where all
 * that follows a change is packed in another way.
 * @throws ParseError for a blob that is damaged or larger than `ARCHIVE_BYTES_MAX` */
export function unpackArchive(blob: Buffer): Buffer {
  const options = { maxOutputLength: ARCHIVE_BYTES_MAX };
  try {
    if (blob.length > 2 && blob.readUInt16BE(0) === 0x1f8b) return gunzipSync(blob, options);
    if (blob.length > 4 && blob.readUInt32LE(0) === ZSTD_MAGIC)
      return zstdDecompressSync(blob, options);
  } catch (cause) {
    throw new ParseError("the layer cannot be unpacked", { cause });
  }
  return blob;
}
