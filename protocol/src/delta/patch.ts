/** Makes a target of a source and what `diff` found. Pure. */
import { ParseError } from "../coded-error.ts";
import { ByteSource } from "./byte-sink.ts";
import type { Difference } from "./diff.ts";

/** Exactly `size` bytes.
 * @throws ParseError for changes that reach beyond the source, the literals or the target */
export function patch(source: Buffer, { changes, literals }: Difference, size: number): Buffer {
  const target = Buffer.allocUnsafe(size);
  const rows = new ByteSource(changes);
  const fresh = new ByteSource(literals);
  let at = 0;
  let expected = 0;
  while (rows.left > 0) {
    const literalLength = rows.varint();
    const length = rows.varint();
    const zigzag = rows.varint();
    const from = expected + (zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2);
    const end = at + literalLength + length;
    if (end > size || from < 0 || from + length > source.length) {
      throw new ParseError("it copies from beyond what is there");
    }
    fresh.take(literalLength).copy(target, at);
    source.copy(target, at + literalLength, from, from + length);
    at = end;
    expected = from + length;
  }
  if (at !== size || fresh.left > 0)
    throw new ParseError(`it makes ${at} bytes instead of ${size}`);
  return target;
}
