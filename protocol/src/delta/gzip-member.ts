/** What stands around a deflate stream: RFC 1952, section 2.3. */
import { ParseError } from "../coded-error.ts";

/** CRC and length. */
export const GZIP_TRAILER_BYTES = 8;
const HEADER_BYTES = 10;
const HAS_CRC = 2;
const HAS_EXTRA = 4;
const HAS_NAME = 8;
const HAS_COMMENT = 16;

export function isGzip(bytes: Buffer, offset: number): boolean {
  return bytes[offset] === 0x1f && bytes[offset + 1] === 0x8b && bytes[offset + 2] === 8;
}

/** Where the deflate stream of the member at `offset` begins.
 * @throws ParseError when it is cut off */
export function findGzipBody(bytes: Buffer, offset: number): number {
  const flags = bytes[offset + 3] ?? 0;
  let at = offset + HEADER_BYTES;
  if ((flags & HAS_EXTRA) !== 0) {
    if (at + 2 > bytes.length) throw new ParseError("it is cut off");
    at += 2 + bytes.readUInt16LE(at);
  }
  for (const flag of [HAS_NAME, HAS_COMMENT]) {
    if ((flags & flag) === 0) continue;
    const end = bytes.indexOf(0, at);
    if (end < 0) throw new ParseError("it is cut off");
    at = end + 1;
  }
  if ((flags & HAS_CRC) !== 0) at += 2;
  if (at >= bytes.length) throw new ParseError("it is cut off");
  return at;
}
