/** Prefix codes of RFC 1951, section 3.2.2, to read and to write. */
import { ParseError } from "../coded-error.ts";

export const CODE_BITS_MAX = 15;
/** Codes up to this long are found by one look; longer ones are rare. */
const FAST_BITS = 10;

/** What turns bits into symbols. */
export type Decoder = {
  /** By the next FAST_BITS bits: symbol * 16 + length, or 0 for a longer code. */
  readonly fast: Uint16Array;
  /** How many codes have each length. */
  readonly counts: Uint16Array;
  /** Symbols in the order of their codes. */
  readonly symbols: Uint16Array;
};

/** What turns symbols into bits, the first bit of a code lowest. */
export type Encoder = { readonly codes: Uint16Array; readonly lengths: Uint8Array };

/** @throws ParseError for lengths that no prefix code has */
export function createDecoder(lengths: Uint8Array): Decoder {
  const { codes } = createEncoder(lengths);
  const counts = countLengths(lengths);
  const offsets = new Uint16Array(CODE_BITS_MAX + 2);
  for (let bits = 1; bits <= CODE_BITS_MAX; bits += 1) {
    offsets[bits + 1] = (offsets[bits] ?? 0) + (counts[bits] ?? 0);
  }
  const symbols = new Uint16Array(lengths.length);
  const fast = new Uint16Array(1 << FAST_BITS);
  for (const [symbol, bits] of lengths.entries()) {
    if (bits === 0) continue;
    const place = offsets[bits] ?? 0;
    symbols[place] = symbol;
    offsets[bits] = place + 1;
    if (bits > FAST_BITS) continue;
    const step = 1 << bits;
    for (let at = codes[symbol] ?? 0; at < fast.length; at += step) fast[at] = symbol * 16 + bits;
  }
  return { fast, counts, symbols };
}

/** Gives `symbol * 16 + length` for the code at the lowest bits of `bits`.
 * @throws ParseError when no code begins so */
export function decode({ fast, counts, symbols }: Decoder, bits: number): number {
  const found = fast[bits & ((1 << FAST_BITS) - 1)] ?? 0;
  if (found !== 0) return found;
  let code = 0;
  let first = 0;
  let index = 0;
  for (let length = 1; length <= CODE_BITS_MAX; length += 1) {
    code |= (bits >>> (length - 1)) & 1;
    const count = counts[length] ?? 0;
    if (code - count < first) return (symbols[index + code - first] ?? 0) * 16 + length;
    index += count;
    first = (first + count) << 1;
    code <<= 1;
  }
  throw new ParseError("its bits are no code");
}

/** @throws ParseError for lengths that no prefix code has */
export function createEncoder(lengths: Uint8Array): Encoder {
  const counts = countLengths(lengths);
  const next = new Uint32Array(CODE_BITS_MAX + 1);
  let code = 0;
  for (let bits = 1; bits <= CODE_BITS_MAX; bits += 1) {
    code = (code + (counts[bits - 1] ?? 0)) << 1;
    next[bits] = code;
    if (code + (counts[bits] ?? 0) > 1 << bits) throw new ParseError("its codes are too many");
  }
  const codes = new Uint16Array(lengths.length);
  for (const [symbol, bits] of lengths.entries()) {
    if (bits === 0) continue;
    const own = next[bits] ?? 0;
    next[bits] = own + 1;
    codes[symbol] = reverse(own, bits);
  }
  return { codes, lengths };
}

function countLengths(lengths: Uint8Array): Uint16Array {
  const counts = new Uint16Array(CODE_BITS_MAX + 1);
  for (const bits of lengths) if (bits > 0) counts[bits] = (counts[bits] ?? 0) + 1;
  return counts;
}

function reverse(code: number, bits: number): number {
  let result = 0;
  for (let bit = 0; bit < bits; bit += 1) result = (result << 1) | ((code >>> bit) & 1);
  return result;
}
