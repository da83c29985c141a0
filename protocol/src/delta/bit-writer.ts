/** Bits into bytes, the lowest of each byte first (RFC 1951, section 3.1.1). */
import type { ByteSink } from "./byte-sink.ts";

export class BitWriter {
  readonly #sink: ByteSink;
  #held = 0;
  #count = 0;

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  /** The lowest `count` bits of `value`, at most 16. */
  bits(value: number, count: number): void {
    this.#held |= value << this.#count;
    this.#count += count;
    if (this.#count < 16) return;
    const { length } = this.#sink;
    this.#sink.reserve(2);
    const { bytes } = this.#sink;
    bytes[length] = this.#held;
    bytes[length + 1] = this.#held >>> 8;
    this.#sink.length = length + 2;
    this.#held >>>= 16;
    this.#count -= 16;
  }

  /** Zeros up to the next whole byte. */
  align(): void {
    for (; this.#count > 0; this.#count -= 8) {
      this.#sink.byte(this.#held & 0xff);
      this.#held >>>= 8;
    }
    this.#held = 0;
    this.#count = 0;
  }
}
