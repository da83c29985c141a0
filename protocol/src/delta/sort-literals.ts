/** What is new in a delta of tokens, sorted by kind, because bytes of one kind are packed better among themselves: how
 * many plain bytes stand before each match, the three bytes of all matches row by row, and the plain bytes. */
import { ParseError } from "../coded-error.ts";
import { ByteSink, ByteSource } from "./byte-sink.ts";
import { ESCAPE } from "./token.ts";

const MATCH_BYTES = 4;
const ROWS = 3;

/** Any bytes; those that only look like a match do no harm. */
export function sortLiterals(literals: Buffer): Buffer {
  const bytesMax = literals.length * 2 + 64;
  const runs = new ByteSink(bytesMax);
  const plain = new ByteSink(bytesMax);
  const rows = Array.from({ length: ROWS }, () => new ByteSink(bytesMax));
  let start = 0;
  for (let at = literals.indexOf(ESCAPE); at >= 0; at = literals.indexOf(ESCAPE, at)) {
    const isMatch = at + MATCH_BYTES <= literals.length && (literals[at + 1] ?? 0) >= 0x80;
    if (!isMatch) {
      at += 1;
      continue;
    }
    runs.varint(at - start);
    plain.append(literals, start, at);
    for (const [row, sink] of rows.entries()) sink.byte(literals[at + 1 + row] ?? 0);
    at += MATCH_BYTES;
    start = at;
  }
  plain.append(literals, start);
  const head = new ByteSink(bytesMax);
  head.varint(rows[0]?.length ?? 0);
  head.varint(runs.length);
  return Buffer.concat([head, runs, ...rows, plain].map((sink) => sink.done()));
}

/** Exactly `size` bytes.
 * @throws ParseError for what was not sorted so */
export function unsortLiterals(sorted: Buffer, size: number): Buffer {
  const reader = new ByteSource(sorted);
  const matches = reader.varint();
  const runs = new ByteSource(reader.take(reader.varint()));
  const rows = Array.from({ length: ROWS }, () => reader.take(matches));
  const literals = new ByteSink(size, size);
  for (let match = 0; match < matches; match += 1) {
    literals.append(reader.take(runs.varint()));
    literals.byte(ESCAPE);
    for (const row of rows) literals.byte(row[match] ?? 0);
  }
  literals.append(reader.take(reader.left));
  if (literals.length === size && runs.left === 0) return literals.done();
  throw new ParseError(`its literals are ${literals.length} bytes instead of ${size}`);
}
