/** Takes a gzip file apart so that every bit of it can be told again: the tokens that its compressor chose, and the
 * frame around them.
 *
 * Where the archive inside did not change, its compressor chose the same tokens; only the codes that they are written
 * with and the places where blocks begin differ. So the tokens of two such files have almost everything in common,
 * where the files themselves have almost nothing. No compressor has to be guessed or called again.
 *
 * Tokens: a byte is itself; 0xFF is `FF 00`; a match is `FF`, 0x8000 + distance - 1 (the higher byte first), and its
 * length - 3. Where blocks begin and how they are written is not in the tokens.
 *
 * Frame: a row of records. 0: so many bytes as they are (headers and trailers of RFC 1952). 1: a stored block, and
 * how many bytes it has. 2: a block with fixed codes, and how many tokens. 3: one with codes of its own: how many bits
 * they take, these bits, how many tokens. 4: one with the codes that zlib chooses, and how many tokens. 8 is added for
 * the last block of a stream. */
import { ParseError } from "../coded-error.ts";
import { BitReader } from "./bit-reader.ts";
import { ByteSink } from "./byte-sink.ts";
import {
  type Codes,
  distanceBase,
  distanceExtra,
  END_OF_BLOCK,
  fixedCodes,
  LENGTH_FIRST,
  lengthBase,
  lengthExtra,
  readCodes,
} from "./deflate-tables.ts";
import { findGzipBody, GZIP_TRAILER_BYTES, isGzip } from "./gzip-member.ts";
import { ESCAPE } from "./token.ts";
import { type Header, predictHeader } from "./zlib-codes.ts";

export type GzipParts = { readonly tokens: Buffer; readonly frame: Buffer };

export const RECORD_RAW = 0;
export const BLOCK_STORED = 1;
export const BLOCK_FIXED = 2;
export const BLOCK_DYNAMIC = 3;
export const BLOCK_ZLIB = 4;
export const LAST_BLOCK = 8;

/** @throws ParseError for what is no gzip file, is cut off, or says one thing in an odd way; over `bytesMax` */
export function readGzip(bytes: Buffer, bytesMax: number): GzipParts {
  const tokens = new ByteSink(bytesMax, bytes.length + (bytes.length >> 1));
  const frame = new ByteSink(bytesMax);
  let offset = 0;
  while (isGzip(bytes, offset)) {
    const body = findGzipBody(bytes, offset);
    writeRaw(frame, bytes.subarray(offset, body));
    const reader = new BitReader(bytes, body);
    while (!readBlock(reader, bytes, { tokens, frame }));
    offset = Math.min(reader.align() + GZIP_TRAILER_BYTES, bytes.length);
    writeRaw(frame, bytes.subarray(offset - GZIP_TRAILER_BYTES, offset));
  }
  if (offset === 0) throw new ParseError("it is no gzip file");
  if (offset < bytes.length) writeRaw(frame, bytes.subarray(offset));
  return { tokens: tokens.done(), frame: frame.done() };
}

function writeRaw(frame: ByteSink, bytes: Buffer): void {
  frame.varint(RECORD_RAW);
  frame.varint(bytes.length);
  frame.append(bytes);
}

type Sinks = { readonly tokens: ByteSink; readonly frame: ByteSink };

/** True after the last one. */
function readBlock(reader: BitReader, bytes: Buffer, { tokens, frame }: Sinks): boolean {
  const isLast = reader.bits(1) === 1;
  const type = reader.bits(2);
  const last = isLast ? LAST_BLOCK : 0;
  if (type === 0) {
    frame.varint(BLOCK_STORED + last);
    frame.varint(readStored(reader, bytes, tokens));
  } else if (type === 1) {
    frame.varint(BLOCK_FIXED + last);
    frame.varint(readTokens(reader, fixedCodes, tokens));
  } else if (type === 2) {
    readDynamic(reader, bytes, { tokens, frame, last });
  } else {
    throw new ParseError("it has a block of no known type");
  }
  return isLast;
}

/** RFC 1951, section 3.2.4. */
function readStored(reader: BitReader, bytes: Buffer, tokens: ByteSink): number {
  const offset = reader.align();
  if (offset + 4 > bytes.length) throw new ParseError("it is cut off");
  const length = bytes.readUInt16LE(offset);
  if ((bytes.readUInt16LE(offset + 2) ^ length) !== 0xffff) {
    throw new ParseError("the length of a stored block is damaged");
  }
  const end = offset + 4 + length;
  if (end > bytes.length) throw new ParseError("it is cut off");
  for (let at = offset + 4; at < end; at += 1) writeLiteral(tokens, bytes[at] ?? 0);
  reader.seek(end);
  return length;
}

function readDynamic(
  reader: BitReader,
  bytes: Buffer,
  { tokens, frame, last }: Sinks & { readonly last: number },
): void {
  const bitsStart = reader.position;
  const codes = readCodes(reader);
  const header = copyBits(bytes, bitsStart, reader.position);
  const start = tokens.length;
  const count = readTokens(reader, codes, tokens);
  const predicted = predictHeader(tokens.done(), { start, count });
  if (predicted.bits === header.bits && predicted.bytes.equals(header.bytes)) {
    frame.varint(BLOCK_ZLIB + last);
  } else {
    frame.varint(BLOCK_DYNAMIC + last);
    frame.varint(header.bits);
    frame.append(header.bytes);
  }
  frame.varint(count);
}

/** The bits from `start` to `end`, the first one lowest. */
function copyBits(bytes: Buffer, start: number, end: number): Header {
  const reader = new BitReader(bytes, Math.floor(start / 8));
  reader.bits(start % 8);
  const copy = Buffer.alloc(Math.ceil((end - start) / 8));
  for (let at = 0; at < copy.length; at += 1) {
    copy[at] = reader.bits(Math.min(8, end - start - at * 8));
  }
  return { bits: end - start, bytes: copy };
}

/** How many tokens there were, without the end of the block. */
function readTokens(reader: BitReader, codes: Codes, tokens: ByteSink): number {
  const literals = codes.literals.decoder;
  for (let count = 0; ; count += 1) {
    const symbol = reader.symbol(literals);
    if (symbol < END_OF_BLOCK) writeLiteral(tokens, symbol);
    else if (symbol === END_OF_BLOCK) return count;
    else readMatch(reader, { symbol: symbol - LENGTH_FIRST, codes }, tokens);
  }
}

function readMatch(
  reader: BitReader,
  { symbol, codes }: { readonly symbol: number; readonly codes: Codes },
  tokens: ByteSink,
): void {
  const length = (lengthBase[symbol] ?? 0) + reader.bits(lengthExtra[symbol] ?? 0);
  const place = reader.symbol(codes.distances.decoder);
  const distance = (distanceBase[place] ?? 0) + reader.bits(distanceExtra[place] ?? 0);
  if (symbol > 28 || place > 29)
    throw new ParseError("it has a match of no known length or distance");
  // The longest match has a symbol of its own; written the other way it could not be told again.
  if (length === 258 && symbol !== 28) throw new ParseError("it has a match in an odd form");
  tokens.reserve(4);
  const { bytes, length: at } = tokens;
  bytes[at] = ESCAPE;
  bytes[at + 1] = 0x80 | ((distance - 1) >>> 8);
  bytes[at + 2] = distance - 1;
  bytes[at + 3] = length - 3;
  tokens.length = at + 4;
}

function writeLiteral(tokens: ByteSink, byte: number): void {
  tokens.reserve(2);
  tokens.bytes[tokens.length] = byte;
  if (byte === ESCAPE) tokens.bytes[tokens.length + 1] = 0;
  tokens.length += byte === ESCAPE ? 2 : 1;
}
