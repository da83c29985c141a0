/** The tables of RFC 1951, sections 3.2.5 and 3.2.6, and the header of a block with codes of its own. */
import { ParseError } from "../coded-error.ts";
import type { BitReader } from "./bit-reader.ts";
import { createDecoder, createEncoder, type Decoder, type Encoder } from "./huffman.ts";

export const END_OF_BLOCK = 256;
export const LENGTH_FIRST = 257;

/** Shortest length of each symbol from 257 on, and how many bits follow it. */
export const lengthBase = Uint16Array.from(
  "3 4 5 6 7 8 9 10 11 13 15 17 19 23 27 31 35 43 51 59 67 83 99 115 131 163 195 227 258".split(
    " ",
  ),
  Number,
);
export const lengthExtra = Uint8Array.from("00000000111122223333444455550", Number);
export const distanceBase = Uint16Array.from({ length: 30 }, (_none, symbol) =>
  symbol < 2 ? symbol + 1 : (2 + (symbol & 1)) * 2 ** ((symbol >> 1) - 1) + 1,
);
export const distanceExtra = Uint8Array.from({ length: 30 }, (_none, symbol) =>
  symbol < 2 ? 0 : (symbol >> 1) - 1,
);

/** Symbol (less 257) of each length less 3. */
export const symbolOfLength = Uint8Array.from({ length: 256 }, (_none, index) =>
  index === 255 ? 28 : lengthBase.findLastIndex((base, at) => at < 28 && base <= index + 3),
);

/** Symbol of a distance. */
export function symbolOfDistance(distance: number): number {
  if (distance <= 2) return distance - 1;
  const bits = 31 - Math.clz32(distance - 1);
  return 2 * bits + (((distance - 1) >>> (bits - 1)) & 1);
}

export type Codes = {
  readonly literals: { readonly decoder: Decoder; readonly encoder: Encoder };
  readonly distances: { readonly decoder: Decoder; readonly encoder: Encoder };
};

/** Section 3.2.6. */
export const fixedCodes: Codes = createCodes(
  Uint8Array.from({ length: 288 }, (_none, symbol) => {
    if (symbol < 144) return 8;
    if (symbol < 256) return 9;
    return symbol < 280 ? 7 : 8;
  }),
  new Uint8Array(30).fill(5),
);

/** The order in which a block tells the lengths of the codes for lengths. */
export const lengthOrder = [
  16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
] as const;

/** Section 3.2.7: reads the codes that a block brings with it.
 * @throws ParseError */
export function readCodes(reader: BitReader): Codes {
  const literals = reader.bits(5) + 257;
  const distances = reader.bits(5) + 1;
  const count = reader.bits(4) + 4;
  const lengthsOfLengths = new Uint8Array(19);
  for (const symbol of lengthOrder.slice(0, count)) lengthsOfLengths[symbol] = reader.bits(3);
  const lengths = readLengths(reader, createDecoder(lengthsOfLengths), literals + distances);
  return createCodes(lengths.subarray(0, literals), lengths.subarray(literals));
}

function readLengths(reader: BitReader, decoder: Decoder, count: number): Uint8Array {
  const lengths = new Uint8Array(count);
  for (let at = 0; at < count;) {
    const symbol = reader.symbol(decoder);
    if (symbol < 16) {
      lengths[at] = symbol;
      at += 1;
      continue;
    }
    if (symbol === 16 && at === 0) throw new ParseError("it repeats a length before the first");
    const value = symbol === 16 ? (lengths[at - 1] ?? 0) : 0;
    const times = readRepeat(reader, symbol);
    if (at + times > count) throw new ParseError("it has too many code lengths");
    lengths.fill(value, at, at + times);
    at += times;
  }
  return lengths;
}

function readRepeat(reader: BitReader, symbol: number): number {
  if (symbol === 16) return 3 + reader.bits(2);
  return symbol === 17 ? 3 + reader.bits(3) : 11 + reader.bits(7);
}

function createCodes(literals: Uint8Array, distances: Uint8Array): Codes {
  return {
    literals: { decoder: createDecoder(literals), encoder: createEncoder(literals) },
    distances: { decoder: createDecoder(distances), encoder: createEncoder(distances) },
  };
}
