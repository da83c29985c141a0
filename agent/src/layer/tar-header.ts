/** One 512-byte tar header. Follows Go's archive/tar (reader.go, format.go, strconv.go) in every choice that is not
 * marked, because the tools that scanned and signed a layer are written in Go: a file that only we saw would be
 * smuggled past them. Text is latin1 throughout, one character for one byte, so that names of any bytes survive. */
import { malformed, refused } from "./errors.ts";

export const BLOCK_BYTES = 512;

export type HeaderFormat = "v7" | "ustar" | "star" | "gnu";

export type RawHeader = {
  readonly format: HeaderFormat;
  readonly typeFlag: string;
  readonly name: string;
  readonly linkName: string;
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
};

const NUL = 0;
const SPACE = 32;

/** Bytes up to the first NUL. */
export function readText(block: Buffer, start: number, length: number): string {
  let end = start;
  const limit = start + length;
  while (end < limit && block[end] !== NUL) end += 1;
  return block.toString("latin1", start, end);
}

/** Octal digits between spaces and NULs, or base-256 where the first bit is set. Undefined is a bad number. */
export function readNumber(block: Buffer, start: number, length: number): number | undefined {
  return (block[start] ?? 0) & 0x80
    ? readBase256(block, start, length)
    : readOctal(block, start, length);
}

function readOctal(block: Buffer, start: number, length: number): number | undefined {
  let from = start;
  let to = start + length;
  while (from < to && (block[from] === SPACE || block[from] === NUL)) from += 1;
  while (to > from && (block[to - 1] === SPACE || block[to - 1] === NUL)) to -= 1;
  let value = 0;
  for (let index = from; index < to; index += 1) {
    const byte = block[index] ?? NUL;
    // Go cuts at the first NUL after trimming, so bytes behind it do not count.
    if (byte === NUL) break;
    const digit = byte - 48;
    if (digit < 0 || digit > 7) return undefined;
    value = value * 8 + digit;
  }
  return Number.isSafeInteger(value) ? value : undefined;
}

function readBase256(block: Buffer, start: number, length: number): number | undefined {
  const first = block[start] ?? 0;
  const invert = first & 0x40 ? 0xff : 0;
  let value = (first ^ invert) & 0x7f;
  for (let index = start + 1; index < start + length; index += 1) {
    value = value * 256 + ((block[index] ?? 0) ^ invert);
    // Go goes on to 63 bits; no real size, id or time is beyond 53.
    if (!Number.isSafeInteger(value)) return undefined;
  }
  return invert === 0 ? value : -value - 1;
}

/** @throws LayerError LAYER_MALFORMED for a bad checksum or number. */
export function parseHeader(block: Buffer): RawHeader {
  checkSum(block);
  const format = detectFormat(block);
  const name = readText(block, 0, 100);
  const number = (start: number, length: number, what: string): number => {
    const value = readNumber(block, start, length);
    if (value === undefined) throw refused(name, `${what} is not a number that fits`);
    return value;
  };
  const header = {
    format,
    typeFlag: block.toString("latin1", 156, 157),
    linkName: readText(block, 157, 100),
    mode: number(100, 8, "mode"),
    uid: number(108, 8, "uid"),
    gid: number(116, 8, "gid"),
    size: number(124, 12, "size"),
    mtimeSeconds: number(136, 12, "mtime"),
  };
  if (format === "v7") return { ...header, name };
  number(329, 8, "device major");
  number(337, 8, "device minor");
  const prefix = readPrefix(block, format, number);
  return { ...header, name: prefix === "" ? name : `${prefix}/${name}` };
}

/** GNU tar and some old programs sum signed bytes: both sums count. */
function checkSum(block: Buffer): void {
  let unsigned = 0;
  let signed = 0;
  for (let index = 0; index < BLOCK_BYTES; index += 1) {
    const byte = index >= 148 && index < 156 ? SPACE : (block[index] ?? 0);
    unsigned += byte;
    signed += byte < 128 ? byte : byte - 256;
  }
  const stored = readOctal(block, 148, 8);
  if (stored === undefined || (stored !== unsigned && stored !== signed)) {
    throw malformed("a header's checksum is wrong");
  }
}

function detectFormat(block: Buffer): HeaderFormat {
  const magic = block.toString("latin1", 257, 263);
  if (magic === "ustar\0") return block.toString("latin1", 508, 512) === "tar\0" ? "star" : "ustar";
  return magic === "ustar " && block.toString("latin1", 263, 265) === " \0" ? "gnu" : "v7";
}

function readPrefix(
  block: Buffer,
  format: HeaderFormat,
  number: (start: number, length: number, what: string) => number,
): string {
  if (format === "ustar") return readText(block, 345, 155);
  if (format === "star") {
    number(476, 12, "atime");
    number(488, 12, "ctime");
    return readText(block, 345, 131);
  }
  // Go before 1.8 wrote a prefix into GNU headers, over atime and ctime.
  const bad = [345, 357].some((at) => block[at] !== NUL && readNumber(block, at, 12) === undefined);
  const prefix = bad ? readText(block, 345, 155) : "";
  return isAscii(prefix) ? prefix : "";
}

export function isAscii(text: string): boolean {
  // oxlint-disable-next-line no-control-regex -- the ASCII range is exactly what is asked for
  return /^[\x00-\x7f]*$/.test(text);
}
