/** The header that zlib would give a block of these tokens: trees.c, "build_bl_tree" and "send_all_trees". */
import { BitWriter } from "./bit-writer.ts";
import { ByteSink } from "./byte-sink.ts";
import {
  END_OF_BLOCK,
  LENGTH_FIRST,
  lengthOrder,
  symbolOfDistance,
  symbolOfLength,
} from "./deflate-tables.ts";
import { CODE_BITS_MAX, createEncoder, type Encoder } from "./huffman.ts";
import { ESCAPE } from "./token.ts";
import { chooseLengths } from "./zlib-lengths.ts";

export type Header = { readonly bits: number; readonly bytes: Buffer };

const LITERALS = 286;
const DISTANCES = 30;
const LENGTH_BITS_MAX = 7;
const HEADER_BYTES_MAX = 1024;

/** For `count` tokens from `start` on; those that are not there are not counted. */
export function predictHeader(
  tokens: Buffer,
  { start, count }: { readonly start: number; readonly count: number },
): Header {
  const literals = new Uint32Array(LITERALS);
  const distances = new Uint32Array(DISTANCES);
  countTokens(tokens, { start, count, literals, distances });
  literals[END_OF_BLOCK] = 1;
  const literalLengths = chooseLengths(literals, CODE_BITS_MAX);
  const distanceLengths = chooseLengths(distances, CODE_BITS_MAX);
  return encode(literalLengths, distanceLengths);
}

type Counting = {
  readonly start: number;
  readonly count: number;
  readonly literals: Uint32Array;
  readonly distances: Uint32Array;
};

function countTokens(tokens: Buffer, { start, count, literals, distances }: Counting): void {
  let at = start;
  for (let done = 0; done < count && at < tokens.length; done += 1) {
    const byte = tokens[at] ?? 0;
    const next = byte === ESCAPE ? (tokens[at + 1] ?? 0) : 0;
    if (next < 0x80) {
      literals[byte] = (literals[byte] ?? 0) + 1;
      at += byte === ESCAPE ? 2 : 1;
      continue;
    }
    const length = LENGTH_FIRST + (symbolOfLength[tokens[at + 3] ?? 0] ?? 0);
    const distance = symbolOfDistance((((next & 0x7f) << 8) | (tokens[at + 2] ?? 0)) + 1);
    literals[length] = (literals[length] ?? 0) + 1;
    distances[distance] = (distances[distance] ?? 0) + 1;
    at += 4;
  }
}

/** A code length, or a repetition (16, 17, 18) with how many times less the fewest. */
type Step = { readonly symbol: number; readonly extra: number };

const extraBits: Readonly<Record<number, number>> = { 16: 2, 17: 3, 18: 7 };

function encode(literals: Uint8Array, distances: Uint8Array): Header {
  const steps = [...stepsOf(literals), ...stepsOf(distances)];
  const counts = new Uint32Array(lengthOrder.length);
  for (const { symbol } of steps) counts[symbol] = (counts[symbol] ?? 0) + 1;
  const chosen = chooseLengths(counts, LENGTH_BITS_MAX);
  const lengths = new Uint8Array(lengthOrder.length);
  lengths.set(chosen);
  const told = Math.max(4, lengthOrder.findLastIndex((symbol) => lengths[symbol] !== 0) + 1);
  const sink = new ByteSink(HEADER_BYTES_MAX);
  const writer = new BitWriter(sink);
  writer.bits(literals.length - 257, 5);
  writer.bits(distances.length - 1, 5);
  writer.bits(told - 4, 4);
  for (const symbol of lengthOrder.slice(0, told)) writer.bits(lengths[symbol] ?? 0, 3);
  const encoder = createEncoder(lengths);
  let bits = 14 + told * 3;
  for (const step of steps) bits += writeStep(writer, encoder, step);
  writer.align();
  return { bits, bytes: sink.done() };
}

function writeStep(writer: BitWriter, encoder: Encoder, { symbol, extra }: Step): number {
  const length = encoder.lengths[symbol] ?? 0;
  const more = extraBits[symbol] ?? 0;
  writer.bits(encoder.codes[symbol] ?? 0, length);
  writer.bits(extra, more);
  return length + more;
}

/** trees.c, "scan_tree": runs of equal lengths, in pieces that a repetition can tell. */
function* stepsOf(lengths: Uint8Array): Generator<Step> {
  let previous = -1;
  for (let at = 0; at < lengths.length;) {
    const value = lengths[at] ?? 0;
    let most = 7;
    if (value === 0) most = 138;
    else if (value === previous) most = 6;
    let count = 1;
    while (count < most && lengths[at + count] === value) count += 1;
    yield* stepsOfRun(value, count, previous);
    at += count;
    previous = value;
  }
}

function* stepsOfRun(value: number, count: number, previous: number): Generator<Step> {
  const fewest = value !== 0 && value !== previous ? 4 : 3;
  if (count < fewest) {
    for (let left = count; left > 0; left -= 1) yield { symbol: value, extra: 0 };
  } else if (value !== 0) {
    const isNew = value !== previous;
    if (isNew) yield { symbol: value, extra: 0 };
    yield { symbol: 16, extra: count - (isNew ? 1 : 0) - 3 };
  } else if (count <= 10) {
    yield { symbol: 17, extra: count - 3 };
  } else {
    yield { symbol: 18, extra: count - 11 };
  }
}
