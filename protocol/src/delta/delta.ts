/** A blob as its difference from other blobs, to the byte. The form is described in docs/reference/bundles.md.
 *
 * A delta is `strata-delta` and a line feed, then as numbers of seven bits a byte: the version (1), how the blobs were
 * taken apart (0 not at all, 1 as gzip), the bytes of the target's parts (tokens and frame, or all and 0), of the changes, of
 * the literals, and of these as they are packed; then changes and packed literals in one zstd frame.
 *
 * The source is the parts of all sources in a row: tokens, frame, tokens, frame … A source that is no gzip file, or
 * an odd one, counts as it is. */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";

import { ParseError } from "../coded-error.ts";
import { ByteSink, ByteSource } from "./byte-sink.ts";
import { diff } from "./diff.ts";
import { isGzip } from "./gzip-member.ts";
import { patch } from "./patch.ts";
import { type GzipParts, readGzip } from "./read-gzip.ts";
import { sortLiterals, unsortLiterals } from "./sort-literals.ts";
import { writeGzip } from "./write-gzip.ts";

const MAGIC = Buffer.from("strata-delta\n");
const VERSION = 1;
const AS_IT_IS = 0;
const AS_GZIP = 1;
/** What is new is little, and carried by hand. */
const COMPRESSION_LEVEL = 19;
/** Of a blob taken apart; what all of this needs of memory is some four times that. */
const DELTA_BYTES_MAX = 1024 * 1024 * 1024;

/** @returns undefined when a delta would save less than a fifth, or the blobs are too large for one */
export function createDelta(sources: readonly Buffer[], target: Buffer): Buffer | undefined {
  const parts = takeApart(target);
  const { tokens, frame } = parts ?? { tokens: target, frame: Buffer.alloc(0) };
  const source = joinSources(sources, parts !== undefined);
  if (source === undefined) return undefined;
  const found = diff(source, Buffer.concat([tokens, frame]), target.length);
  if (found === undefined) return undefined;
  const { changes, literals } = found;
  const head = new ByteSink(1024);
  head.append(MAGIC);
  const kind = parts === undefined ? AS_IT_IS : AS_GZIP;
  const packed = parts === undefined ? literals : sortLiterals(literals);
  const sizes = [tokens, frame, changes, literals, packed].map((bytes) => bytes.length);
  for (const number of [VERSION, kind, ...sizes]) head.varint(number);
  const body = zstdCompressSync(Buffer.concat([changes, packed]), {
    params: { [constants.ZSTD_c_compressionLevel]: COMPRESSION_LEVEL },
  });
  const delta = Buffer.concat([head.done(), body]);
  return delta.length < target.length * 0.8 ? delta : undefined;
}

/** The target, of `size` bytes. Whoever calls holds it against its digest.
 * @throws ParseError for a delta that is damaged, or does not fit its sources */
export function applyDelta(sources: readonly Buffer[], delta: Buffer, size: number): Buffer {
  const reader = new ByteSource(delta);
  if (!reader.take(MAGIC.length).equals(MAGIC)) throw new ParseError("it is no delta");
  const version = reader.varint();
  if (version !== VERSION) throw new ParseError(`it is a delta of version ${version}`);
  const kind = reader.varint();
  if (kind !== AS_IT_IS && kind !== AS_GZIP) throw new ParseError("it is of no known kind");
  const [tokens, frame, changes, literals = 0, packed] = Array.from({ length: 5 }, () =>
    reader.varint(),
  );
  const partBytes = sum(tokens, frame);
  const body = unpack(reader.take(reader.left), sum(changes, packed));
  const source = joinSources(sources, kind === AS_GZIP);
  if (source === undefined) throw new ParseError("its sources are too large");
  const rest = body.subarray(changes);
  const found = {
    changes: body.subarray(0, changes),
    literals: kind === AS_GZIP ? unsortLiterals(rest, sum(literals)) : rest,
  };
  const joined = patch(source, found, partBytes);
  if (kind === AS_GZIP) {
    return writeGzip({ tokens: joined.subarray(0, tokens), frame: joined.subarray(tokens) }, size);
  }
  if (joined.length !== size) throw new ParseError(`it makes ${joined.length} bytes, not ${size}`);
  return joined;
}

function sum(left = 0, right = 0): number {
  if (left + right > DELTA_BYTES_MAX) throw new ParseError("it is too large");
  return left + right;
}

function unpack(bytes: Buffer, size: number): Buffer {
  try {
    const body = zstdDecompressSync(bytes, { maxOutputLength: Math.max(size, 1) });
    if (body.length === size) return body;
  } catch (cause) {
    throw new ParseError("its body is damaged", { cause });
  }
  throw new ParseError("its body has another length than it says");
}

/** Undefined for what is no gzip file, or one that could not be told again. */
function takeApart(bytes: Buffer): GzipParts | undefined {
  if (!isGzip(bytes, 0)) return undefined;
  try {
    return readGzip(bytes, DELTA_BYTES_MAX);
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}

/** Undefined when they are too large. */
function joinSources(sources: readonly Buffer[], asGzip: boolean): Buffer | undefined {
  const all: Buffer[] = [];
  let bytes = 0;
  for (const source of sources) {
    const parts = asGzip ? takeApart(source) : undefined;
    const own = parts === undefined ? [source] : [parts.tokens, parts.frame];
    bytes += own.reduce((total, part) => total + part.length, 0);
    if (bytes > DELTA_BYTES_MAX) return undefined;
    all.push(...own);
  }
  return Buffer.concat(all);
}
