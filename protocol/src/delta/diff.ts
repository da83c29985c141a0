/** Finds what of a target is in a source already. Pure, and independent of what the bytes mean.
 *
 * A change is a row of (literal length, copy length, copy offset): so many bytes that are new, then so many of the
 * source. The offset is told as its distance from the end of the copy before. Blocks of the source are indexed by a
 * hash; a hash that rolls over the target finds them at any place, and each find is grown both ways to the byte. */
import { ByteSink } from "./byte-sink.ts";

export type Difference = { readonly changes: Buffer; readonly literals: Buffer };

/** Bytes of a block: what is shorter is not found. Grows with the source, so that its index stays small. */
const BLOCK_BYTES_MIN = 32;
const BLOCKS_MAX = 8 * 1024 * 1024;
const FACTOR = 0x01000193;

/** @returns undefined when more than `literalBytesMax` bytes of the target are new: then a delta saves nothing */
export function diff(
  source: Buffer,
  target: Buffer,
  literalBytesMax: number,
): Difference | undefined {
  const index = createIndex(source);
  const changes = new ByteSink(target.length * 2 + 64);
  const literals = new ByteSink(literalBytesMax);
  const state: State = { source, target, index, done: 0, expected: 0, changes, literals };
  let at = 0;
  while (at + index.blockBytes <= target.length) {
    const found = findMatch(state, at);
    if (found === undefined) break;
    if (state.literals.length + found.start - state.done > literalBytesMax) return undefined;
    writeChange(state, found);
    at = state.done;
  }
  const rest = target.length - state.done;
  if (state.literals.length + rest > literalBytesMax) return undefined;
  if (rest > 0) writeChange(state, { start: target.length, from: state.expected, length: 0 });
  return { changes: changes.done(), literals: literals.done() };
}

type Index = {
  readonly blockBytes: number;
  readonly mask: number;
  /** Number of a block, counted from 1, by a part of its hash. */
  readonly slots: Uint32Array;
  /** What a byte counts that leaves the window. */
  readonly leaving: number;
};

type State = {
  readonly source: Buffer;
  readonly target: Buffer;
  readonly index: Index;
  readonly changes: ByteSink;
  readonly literals: ByteSink;
  /** How much of the target is told. */
  done: number;
  /** Where the source goes on if nothing was put in or taken out. */
  expected: number;
};

type Match = { readonly start: number; readonly from: number; readonly length: number };

function createIndex(source: Buffer): Index {
  let blockBytes = BLOCK_BYTES_MIN;
  while (source.length / blockBytes > BLOCKS_MAX) blockBytes *= 2;
  const blocks = Math.floor(source.length / blockBytes);
  const bits = Math.max(10, Math.ceil(Math.log2(blocks * 2 + 1)));
  const slots = new Uint32Array(2 ** bits);
  const mask = slots.length - 1;
  // From the last to the first: of blocks that are alike the first one stays.
  for (let block = blocks - 1; block >= 0; block -= 1) {
    slots[slotOf(hashOf(source, block * blockBytes, blockBytes), mask)] = block + 1;
  }
  let leaving = 1;
  for (let count = 1; count < blockBytes; count += 1) leaving = Math.imul(leaving, FACTOR);
  return { blockBytes, mask, slots, leaving };
}

function hashOf(bytes: Buffer, start: number, length: number): number {
  let hash = 0;
  for (let at = start; at < start + length; at += 1) {
    hash = (Math.imul(hash, FACTOR) + (bytes[at] ?? 0)) | 0;
  }
  return hash;
}

/** The lowest bits of such a hash know the last bytes alone; the highest know all. */
function slotOf(hash: number, mask: number): number {
  return (Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 7) & mask;
}

/** The first place from `at` on that is in the source, grown both ways. */
function findMatch(state: State, at: number): Match | undefined {
  const { source, target, index } = state;
  const { blockBytes, mask, slots, leaving } = index;
  const end = target.length - blockBytes;
  let hash = hashOf(target, at, blockBytes);
  for (let place = at; ; place += 1) {
    // Most changes put nothing in and take nothing out, so the same distance on is the best guess.
    const guess = state.expected + place - state.done;
    if (source[guess] === target[place] && isBlock(state, guess, place)) {
      return grow(state, guess, place);
    }
    const block = slots[slotOf(hash, mask)] ?? 0;
    if (block !== 0 && isBlock(state, (block - 1) * blockBytes, place)) {
      return grow(state, (block - 1) * blockBytes, place);
    }
    if (place >= end) return undefined;
    const next = Math.imul(hash - Math.imul(target[place] ?? 0, leaving), FACTOR);
    hash = (next + (target[place + blockBytes] ?? 0)) | 0;
  }
}

function isBlock({ source, target, index }: State, from: number, place: number): boolean {
  if (from + index.blockBytes > source.length) return false;
  for (let at = 0; at < index.blockBytes; at += 1) {
    if (source[from + at] !== target[place + at]) return false;
  }
  return true;
}

function grow({ source, target, index, done }: State, from: number, place: number): Match {
  let back = 0;
  while (place - back > done && from - back > 0) {
    if (source[from - back - 1] !== target[place - back - 1]) break;
    back += 1;
  }
  let length = index.blockBytes;
  const most = Math.min(source.length - from, target.length - place);
  while (length < most && source[from + length] === target[place + length]) length += 1;
  return { start: place - back, from: from - back, length: length + back };
}

function writeChange(state: State, { start, from, length }: Match): void {
  const { changes, literals, target, done, expected } = state;
  changes.varint(start - done);
  changes.varint(length);
  // Zigzag: small distances in both directions become small numbers.
  const distance = from - expected;
  changes.varint(distance >= 0 ? distance * 2 : -distance * 2 - 1);
  literals.append(target, done, start);
  state.done = start + length;
  state.expected = from + length;
}
