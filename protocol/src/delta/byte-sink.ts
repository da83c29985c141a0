/** A buffer that grows, up to a limit. */
import { ParseError } from "../coded-error.ts";

const START_BYTES = 64 * 1024;

export class ByteSink {
  readonly #bytesMax: number;
  bytes: Buffer;
  length = 0;

  constructor(bytesMax: number, bytesExpected: number = START_BYTES) {
    this.#bytesMax = bytesMax;
    this.bytes = Buffer.allocUnsafe(Math.min(Math.max(bytesExpected, START_BYTES), bytesMax + 16));
  }

  /** Room for `more` bytes from `length` on.
   * @throws ParseError when there would be more than the limit */
  reserve(more: number): void {
    const needed = this.length + more;
    if (needed <= this.bytes.length) return;
    if (needed > this.#bytesMax + 16) {
      throw new ParseError(`over ${this.#bytesMax} bytes when unpacked`);
    }
    const larger = Buffer.allocUnsafe(
      Math.min(Math.max(needed, this.bytes.length * 2), this.#bytesMax + 16),
    );
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }

  byte(value: number): void {
    this.reserve(1);
    this.bytes[this.length] = value;
    this.length += 1;
  }

  append(source: Buffer, start = 0, end: number = source.length): void {
    this.reserve(end - start);
    source.copy(this.bytes, this.length, start, end);
    this.length += end - start;
  }

  /** Seven bits a byte, the lowest first; a set eighth bit says that more follow. */
  varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.byte((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.byte(rest);
  }

  done(): Buffer {
    return this.bytes.subarray(0, this.length);
  }
}

/** Reads what a sink wrote.
 * @throws ParseError at its end, and for numbers over 2^53 */
export class ByteSource {
  readonly bytes: Buffer;
  offset = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get left(): number {
    return this.bytes.length - this.offset;
  }

  byte(): number {
    const value = this.bytes[this.offset];
    if (value === undefined) throw new ParseError("it is cut off");
    this.offset += 1;
    return value;
  }

  take(count: number): Buffer {
    if (count > this.left) throw new ParseError("it is cut off");
    this.offset += count;
    return this.bytes.subarray(this.offset - count, this.offset);
  }

  varint(): number {
    let value = 0;
    for (let factor = 1; factor <= 2 ** 49; factor *= 0x80) {
      const byte = this.byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
    }
    throw new ParseError("a number in it is too large");
  }
}
