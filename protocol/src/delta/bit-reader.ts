/** Bits of a deflate stream, the lowest of each byte first (RFC 1951, section 3.1.1). */
import { ParseError } from "../coded-error.ts";
import { decode, type Decoder } from "./huffman.ts";

export class BitReader {
  readonly #bytes: Buffer;
  #next: number;
  /** Bits that are read from the bytes and not yet used; fewer than 32. */
  #held = 0;
  #count = 0;

  constructor(bytes: Buffer, offset: number) {
    this.#bytes = bytes;
    this.#next = offset;
  }

  /** How many bits of the buffer are used. */
  get position(): number {
    return this.#next * 8 - this.#count;
  }

  /** Up to 16 bits as a number.
   * @throws ParseError at the end of the bytes */
  bits(count: number): number {
    this.#fill();
    const value = this.#held & ((1 << count) - 1);
    this.#drop(count);
    return value;
  }

  symbol(decoder: Decoder): number {
    this.#fill();
    const found = decode(decoder, this.#held);
    this.#drop(found & 15);
    return found >>> 4;
  }

  /** Skips to the next whole byte, and gives its offset.
   * @throws ParseError when a bit that is skipped is set: it could not be told again */
  align(): number {
    const odd = this.#count & 7;
    if ((this.#held & ((1 << odd) - 1)) !== 0) throw new ParseError("it has bits between blocks");
    const offset = this.#next - (this.#count >> 3);
    this.seek(offset);
    return offset;
  }

  seek(offset: number): void {
    this.#next = offset;
    this.#held = 0;
    this.#count = 0;
  }

  #fill(): void {
    while (this.#count <= 16) {
      // Behind the end come zeros; whoever uses one of them is told so by `#drop`.
      this.#held |= (this.#bytes[this.#next] ?? 0) << this.#count;
      this.#next += 1;
      this.#count += 8;
    }
  }

  #drop(count: number): void {
    this.#held >>>= count;
    this.#count -= count;
    if (this.#next - (this.#count >> 3) > this.#bytes.length) throw new ParseError("it is cut off");
  }
}
