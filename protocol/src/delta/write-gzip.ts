/** Puts together what `readGzip` took apart. */
import { ParseError } from "../coded-error.ts";
import { BitReader } from "./bit-reader.ts";
import { BitWriter } from "./bit-writer.ts";
import { ByteSink, ByteSource } from "./byte-sink.ts";
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
  symbolOfDistance,
  symbolOfLength,
} from "./deflate-tables.ts";
import type { Encoder } from "./huffman.ts";
import {
  BLOCK_DYNAMIC,
  BLOCK_FIXED,
  BLOCK_STORED,
  BLOCK_ZLIB,
  type GzipParts,
  LAST_BLOCK,
  RECORD_RAW,
} from "./read-gzip.ts";
import { ESCAPE } from "./token.ts";
import { type Header, predictHeader } from "./zlib-codes.ts";

const CODE_HEADER_BITS_MAX = 16_384;

/** Exactly `size` bytes.
 * @throws ParseError for parts that do not fit together or make another length */
export function writeGzip({ tokens, frame }: GzipParts, size: number): Buffer {
  const sink = new ByteSink(size, size);
  const work: Work = { sink, writer: new BitWriter(sink), tokens, at: 0 };
  const records = new ByteSource(frame);
  while (records.left > 0) {
    const kind = records.varint();
    if (kind === RECORD_RAW) {
      work.writer.align();
      sink.append(records.take(records.varint()));
    } else {
      writeBlock(work, records, kind);
    }
  }
  if (work.at !== tokens.length || sink.length !== size) {
    throw new ParseError(`it makes ${sink.length} bytes instead of ${size}`);
  }
  return sink.done();
}

type Work = {
  readonly sink: ByteSink;
  readonly writer: BitWriter;
  readonly tokens: Buffer;
  /** The next token. */
  at: number;
};

function writeBlock(work: Work, records: ByteSource, kind: number): void {
  const { writer } = work;
  const isLast = kind > LAST_BLOCK;
  const type = isLast ? kind - LAST_BLOCK : kind;
  writer.bits(isLast ? 1 : 0, 1);
  if (type === BLOCK_STORED) {
    writer.bits(0, 2);
    writeStored(work, records.varint());
  } else if (type === BLOCK_FIXED) {
    writer.bits(1, 2);
    writeTokens(work, fixedCodes, records.varint());
  } else if (type === BLOCK_DYNAMIC) {
    writer.bits(2, 2);
    const codes = writeCodes(writer, readHeader(records));
    writeTokens(work, codes, records.varint());
  } else if (type === BLOCK_ZLIB) {
    writer.bits(2, 2);
    const count = records.varint();
    const codes = writeCodes(writer, predictHeader(work.tokens, { start: work.at, count }));
    writeTokens(work, codes, count);
  } else {
    throw new ParseError(`it has a record of no known kind ${kind}`);
  }
}

function readHeader(records: ByteSource): Header {
  const bits = records.varint();
  if (bits > CODE_HEADER_BITS_MAX) throw new ParseError("a block describes too many codes");
  return { bits, bytes: records.take(Math.ceil(bits / 8)) };
}

/** Writes the bits that describe the codes, and gives what they describe. */
function writeCodes(writer: BitWriter, { bits, bytes }: Header): Codes {
  for (let at = 0; at < bits; at += 8) writer.bits(bytes[at >> 3] ?? 0, Math.min(8, bits - at));
  return readCodes(new BitReader(bytes, 0));
}

function writeStored(work: Work, length: number): void {
  const { sink, writer, tokens } = work;
  if (length > 0xffff) throw new ParseError("a stored block is too long");
  writer.align();
  writer.bits(length, 16);
  writer.bits(length ^ 0xffff, 16);
  sink.reserve(length);
  for (let done = 0; done < length; done += 1) {
    const byte = tokens[work.at] ?? 0;
    const size = byte === ESCAPE ? 2 : 1;
    if (work.at + size > tokens.length || (size === 2 && tokens[work.at + 1] !== 0)) {
      throw new ParseError("a stored block has no bytes");
    }
    sink.bytes[sink.length] = byte;
    sink.length += 1;
    work.at += size;
  }
}

function writeTokens(work: Work, { literals, distances }: Codes, count: number): void {
  const { tokens } = work;
  for (let done = 0; done < count; done += 1) {
    if (work.at >= tokens.length) throw new ParseError("it has too few tokens");
    const byte = tokens[work.at] ?? 0;
    const next = byte === ESCAPE ? (tokens[work.at + 1] ?? 0) : 0;
    if (next < 0x80) {
      writeSymbol(work.writer, literals.encoder, byte);
      work.at += byte === ESCAPE ? 2 : 1;
    } else {
      writeMatch(work, literals.encoder, distances.encoder);
    }
  }
  writeSymbol(work.writer, literals.encoder, END_OF_BLOCK);
}

function writeMatch(work: Work, literals: Encoder, distances: Encoder): void {
  const { writer, tokens, at } = work;
  if (at + 4 > tokens.length) throw new ParseError("its last token is cut off");
  const distance = ((((tokens[at + 1] ?? 0) & 0x7f) << 8) | (tokens[at + 2] ?? 0)) + 1;
  const length = (tokens[at + 3] ?? 0) + 3;
  const symbol = symbolOfLength[length - 3] ?? 0;
  writeSymbol(writer, literals, LENGTH_FIRST + symbol);
  writer.bits(length - (lengthBase[symbol] ?? 0), lengthExtra[symbol] ?? 0);
  const place = symbolOfDistance(distance);
  writeSymbol(writer, distances, place);
  writer.bits(distance - (distanceBase[place] ?? 0), distanceExtra[place] ?? 0);
  work.at = at + 4;
}

function writeSymbol(writer: BitWriter, { codes, lengths }: Encoder, symbol: number): void {
  const length = lengths[symbol] ?? 0;
  if (length === 0) throw new ParseError("a token has no code");
  writer.bits(codes[symbol] ?? 0, length);
}
