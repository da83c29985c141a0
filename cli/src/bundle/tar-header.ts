/** One header of a tar file: POSIX.1-1988 "ustar", with GNU's form of large numbers. */
import { invalidBundle } from "./invalid.ts";

export const BLOCK_BYTES = 512;

export type TarHeader = {
  readonly name: string;
  readonly size: number;
  /** `0` file, `5` folder, `x` and `g` PAX, `L` GNU long name; others as they stand. */
  readonly type: string;
};

const decoder = new TextDecoder("utf-8", { fatal: true });
const ustar = "ustar\u000000";
const gnu = "ustar  \u0000";

/** @throws CliError LAYOUT_INVALID */
export function parseHeader(block: Buffer, path: string): TarHeader {
  const magic = block.toString("latin1", 257, 265);
  if (magic !== ustar && magic !== gnu) throw invalidBundle(path, "it is not a tar file");
  requireChecksum(block, path);
  const flag = block.toString("latin1", 156, 157);
  // GNU keeps times where POSIX has the prefix.
  const prefix = magic === ustar ? parseText(block.subarray(345, 500), path) : "";
  const name = parseText(block.subarray(0, 100), path);
  return {
    name: prefix === "" ? name : `${prefix}/${name}`,
    size: parseNumber(block.subarray(124, 136), path),
    type: flag === "\u0000" ? "0" : flag,
  };
}

export function isZeroBlock(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}

/** Text up to its first NUL, behind which there must be nothing else.
 * @throws CliError LAYOUT_INVALID */
export function parseText(bytes: Buffer, path: string): string {
  const end = bytes.indexOf(0);
  const text = end < 0 ? bytes : bytes.subarray(0, end);
  if (end >= 0 && !isZeroBlock(bytes.subarray(end))) {
    throw invalidBundle(path, "a name has something behind its end");
  }
  try {
    return decoder.decode(text);
  } catch (cause) {
    throw invalidBundle(path, "a name is not UTF-8", cause);
  }
}

/** Octal digits, or for eight gibibytes and more a number of 95 bits after a set first bit. */
function parseNumber(field: Buffer, path: string): number {
  const first = field[0] ?? 0;
  if (first >= 0x80) {
    const value = BigInt(`0x${field.toString("hex")}`) & ((1n << 95n) - 1n);
    if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
    throw invalidBundle(path, "a size is too large");
  }
  const text = field.toString("latin1").replaceAll("\u0000", " ");
  if (!/^ *[0-7]+ *$/.test(text)) throw invalidBundle(path, "a size is not a number");
  return Number.parseInt(text.trim(), 8);
}

/** The sum of all bytes, where the sum itself counts as blanks. */
function requireChecksum(block: Buffer, path: string): void {
  const stated = parseNumber(block.subarray(148, 156), path);
  let sum = 8 * 0x20;
  for (const [index, byte] of block.entries()) if (index < 148 || index >= 156) sum += byte;
  if (sum !== stated) throw invalidBundle(path, "the checksum of a header is wrong");
}
