/** Points of one series over one window of time, as they lie on the disk. Pure. */
import { deflateRawSync, inflateRawSync } from "node:zlib";

/** A resolution that is kept. `window` is what one row holds. */
export type Tier = {
  readonly id: number;
  readonly stepMs: number;
  readonly windowMs: number;
  readonly keptMs: number;
  /** Numbers in each cell: of a fine one its value, of a coarse one the average, minimum and maximum. */
  readonly parts: number;
};

const HOUR_MS = 3_600_000;

export const fine: Tier = {
  id: 0,
  stepMs: 10_000,
  windowMs: 600_000,
  keptMs: 24 * HOUR_MS,
  parts: 1,
};
export const coarse: Tier = {
  id: 1,
  stepMs: 300_000,
  windowMs: 4 * HOUR_MS,
  keptMs: 14 * 24 * HOUR_MS,
  parts: 3,
};

/** Column after column, `slots` cells each; NaN where nothing is known. */
export type Chunk = Float32Array;

export function slotsOf({ windowMs, stepMs }: Tier): number {
  return windowMs / stepMs;
}

export function windowOf(tier: Tier, atMs: number): number {
  return Math.floor(atMs / tier.windowMs) * tier.windowMs;
}

export function slotOf(tier: Tier, atMs: number): number {
  return Math.floor((atMs % tier.windowMs) / tier.stepMs);
}

export function emptyChunk(tier: Tier, columns: number): Chunk {
  return new Float32Array(slotsOf(tier) * tier.parts * columns).fill(NaN);
}

/** Where the first number of a cell stands. */
export function cellAt(
  tier: Tier,
  { column, slot }: { readonly column: number; readonly slot: number },
): number {
  return (column * slotsOf(tier) + slot) * tier.parts;
}

/** Numbers are kept to five digits; whole ones up to 65,536 exactly. Little-endian floats whose bytes stand together by their place in the number, which lets neighbours that hardly
 * differ shrink to a few bytes, then deflated. */
export function encodeChunk(chunk: Chunk): Buffer {
  return deflateRawSync(shuffle(shorten(chunk)), { level: 1 });
}

/** @throws RangeError, or an error of zlib, for what is no chunk of this many numbers at most */
export function decodeChunk(bytes: Uint8Array, numbersMax: number): Chunk {
  const plain = inflateRawSync(bytes, { maxOutputLength: numbersMax * BYTES });
  return unshuffle(plain);
}

const BYTES = Float32Array.BYTES_PER_ELEMENT;

/** The last bits of a number are noise to people, and what deflate cannot shorten. */
const DROPPED_BITS = 8;

function shorten(chunk: Chunk): Chunk {
  const bits = new Uint32Array(chunk.slice().buffer);
  for (let at = 0; at < bits.length; at += 1)
    bits[at] = ((bits[at] ?? 0) + (1 << (DROPPED_BITS - 1))) & -(1 << DROPPED_BITS);
  return new Float32Array(bits.buffer);
}

function shuffle(chunk: Chunk): Uint8Array {
  const from = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  const to = new Uint8Array(from.length);
  const count = chunk.length;
  for (let index = 0; index < count; index += 1)
    for (let byte = 0; byte < BYTES; byte += 1)
      to[byte * count + index] = from[index * BYTES + byte] ?? 0;
  return to;
}

function unshuffle(from: Uint8Array): Chunk {
  const count = Math.floor(from.length / BYTES);
  const to = new Uint8Array(count * BYTES);
  for (let index = 0; index < count; index += 1)
    for (let byte = 0; byte < BYTES; byte += 1)
      to[index * BYTES + byte] = from[byte * count + index] ?? 0;
  return new Float32Array(to.buffer);
}

/** A window of the coarse tier out of the fine chunks in it. `read` gives the one that begins at a time. */
export function rollUp(
  columns: number,
  startMs: number,
  read: (startMs: number) => Chunk | undefined,
): Chunk | undefined {
  const rolled = emptyChunk(coarse, columns);
  const perCell = coarse.stepMs / fine.stepMs;
  let isEmpty = true;
  for (let at = startMs; at < startMs + coarse.windowMs; at += fine.windowMs) {
    const chunk = read(at);
    if (chunk === undefined) continue;
    for (let column = 0; column < columns; column += 1)
      for (let slot = 0; slot < slotsOf(fine); slot += perCell) {
        const from = cellAt(fine, { column, slot });
        const cell = summarize(chunk.subarray(from, from + perCell));
        if (cell === undefined) continue;
        const slotMs = at + slot * fine.stepMs;
        rolled.set(cell, cellAt(coarse, { column, slot: slotOf(coarse, slotMs) }));
        isEmpty = false;
      }
  }
  return isEmpty ? undefined : rolled;
}

/** Average, minimum and maximum of what is known. */
function summarize(values: Float32Array): readonly [number, number, number] | undefined {
  let count = 0;
  let sum = 0;
  let min = Infinity;
  let max = -Infinity;
  for (const value of values) {
    if (Number.isNaN(value)) continue;
    count += 1;
    sum += value;
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  return count === 0 ? undefined : [sum / count, min, max];
}
