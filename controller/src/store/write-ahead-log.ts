/** Tells whether commits were lost with a part of a write-ahead log. SQLite itself takes a damaged log for its end,
 * drops the rest and says nothing. Formats: https://sqlite.org/fileformat.html#walformat and
 * https://sqlite.org/walformat.html#walidxfmt */
import { existsSync, readFileSync, statSync } from "node:fs";

/** A longer log is not read at a start. */
const LOG_BYTES_MAX = 1024 ** 3;
const LOG_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const BIG_ENDIAN_MAGIC = 0x377f0683;

/** What the index beside the log says of it. It outlives a killed program, and is written after its log was synced. */
type Index = {
  readonly frames: number;
  /** Frames that are in the database already. */
  readonly copied: number;
  readonly pageBytes: number;
  readonly salt: Buffer;
};

/** Looks at the log of a database that nobody has open. Gives what is wrong, for people; undefined when nothing is
 * known to be. */
export function findLogDamage(file: string): string | undefined {
  const index = existsSync(`${file}-shm`) ? readIndex(readFileSync(`${file}-shm`)) : undefined;
  if (index === undefined || index.frames === 0) return undefined;
  const path = `${file}-wal`;
  const size = existsSync(path) ? statSync(path).size : 0;
  if (size > LOG_BYTES_MAX) return undefined;
  if (size === 0)
    return index.copied < index.frames
      ? `its write-ahead log ${path} is gone with ${index.frames - index.copied} pages`
      : undefined;
  const log = readFileSync(path);
  // Of another life of the log: the two say nothing of each other.
  if (!log.subarray(16, 24).equals(index.salt)) return undefined;
  const sound = countSoundFrames(log, index);
  return sound < index.frames
    ? `its write-ahead log ${path} is damaged: ${sound} of ${index.frames} pages can be read`
    : undefined;
}

/** Two copies of the header, then how much was copied. Undefined when they differ, as after a kill in between. */
function readIndex(bytes: Buffer): Index | undefined {
  if (bytes.length < 136 || !bytes.subarray(0, 48).equals(bytes.subarray(48, 96))) return undefined;
  if (bytes[12] === 0) return undefined;
  const pageBytes = bytes.readUInt16LE(14);
  return {
    frames: bytes.readUInt32LE(16),
    copied: bytes.readUInt32LE(96),
    pageBytes: pageBytes === 1 ? 65_536 : pageBytes,
    salt: bytes.subarray(32, 40),
  };
}

/** From the start, as far as the chain of checksums holds. */
function countSoundFrames(log: Buffer, { frames, pageBytes, salt }: Index): number {
  const view = new DataView(log.buffer, log.byteOffset, log.byteLength);
  const littleEndian = view.getUint32(0) !== BIG_ENDIAN_MAGIC;
  const add = ([first, second]: Sum, from: number, to: number): Sum => {
    let [a, b] = [first, second];
    for (let at = from; at < to; at += 8) {
      a = (a + view.getUint32(at, littleEndian) + b) >>> 0;
      b = (b + view.getUint32(at + 4, littleEndian) + a) >>> 0;
    }
    return [a, b];
  };
  const matches = ([a, b]: Sum, at: number): boolean =>
    view.getUint32(at) === a && view.getUint32(at + 4) === b;
  let sum = add([0, 0], 0, 24);
  if (!matches(sum, 24)) return 0;
  for (let frame = 0; frame < frames; frame += 1) {
    const start = LOG_HEADER_BYTES + frame * (FRAME_HEADER_BYTES + pageBytes);
    const end = start + FRAME_HEADER_BYTES + pageBytes;
    if (end > log.length || !log.subarray(start + 8, start + 16).equals(salt)) return frame;
    sum = add(add(sum, start, start + 8), start + FRAME_HEADER_BYTES, end);
    if (!matches(sum, start + 16)) return frame;
  }
  return frames;
}

type Sum = readonly [number, number];
