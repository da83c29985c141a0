/** Walks the frame and block headers of a zstd stream (RFC 8878, section 3) beside the decoder, without decoding.
 * Decoders of the runtimes differ where it matters: some take a stream that was cut off, or junk behind a frame, for
 * its end, so that a part of a layer would look like the whole. */
import { malformed } from "./errors.ts";

type State = "magic" | "skippable-size" | "descriptor" | "header" | "block" | "body" | "checksum";

const FRAME_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const RLE = 1;
const RESERVED = 3;

export class ZstdFrames {
  #state: State = "magic";
  /** Bytes wanted in this state, and those that are here. */
  #wanted = 4;
  #value = 0;
  #taken = 0;
  #checksum = false;
  #lastBlock = false;
  /** Frames with data that have begun. */
  frames = 0;

  /** @throws LayerError LAYER_MALFORMED */
  write(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#state === "body" || this.#state === "header" || this.#state === "checksum") {
        const end = Math.min(chunk.length, at + this.#wanted - this.#taken);
        this.#taken += end - at;
        at = end;
      } else {
        // Little-endian, at most four bytes.
        this.#value += (chunk[at] ?? 0) * 256 ** this.#taken;
        this.#taken += 1;
        at += 1;
      }
      while (this.#taken === this.#wanted) this.#advance();
    }
  }

  /** @throws LayerError LAYER_MALFORMED for a stream that was cut off */
  end(): void {
    if (this.#state !== "magic" || this.#taken > 0) throw malformed("the zstd stream is cut off");
  }

  #expect(state: State, wanted: number): void {
    this.#state = state;
    this.#wanted = wanted;
    this.#taken = 0;
    this.#value = 0;
  }

  #advance(): void {
    switch (this.#state) {
      case "magic":
        this.#onMagic();
        return;
      case "skippable-size":
        this.#lastBlock = true;
        this.#checksum = false;
        this.#expect("body", this.#value);
        return;
      case "descriptor":
        this.#onDescriptor();
        return;
      case "header":
        this.#expect("block", 3);
        return;
      case "block":
        this.#onBlock();
        return;
      case "body":
        if (!this.#lastBlock) this.#expect("block", 3);
        else this.#expect("checksum", this.#checksum ? 4 : 0);
        return;
      case "checksum":
        this.#expect("magic", 4);
        return;
      default:
        this.#state satisfies never;
    }
  }

  #onMagic(): void {
    if (this.#value === FRAME_MAGIC) {
      this.frames += 1;
      this.#expect("descriptor", 1);
    } else if (this.#value - (this.#value % 16) === SKIPPABLE_MAGIC) {
      this.#expect("skippable-size", 4);
    } else {
      throw malformed("data that is not zstd follows a zstd frame");
    }
  }

  #onDescriptor(): void {
    const descriptor = this.#value;
    const singleSegment = (descriptor & 0x20) !== 0;
    const sizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
    const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
    this.#checksum = (descriptor & 4) !== 0;
    this.#expect("header", sizeBytes + dictionaryBytes + (singleSegment ? 0 : 1));
  }

  #onBlock(): void {
    const type = (this.#value >> 1) & 3;
    if (type === RESERVED) throw malformed("a zstd block has a reserved type");
    this.#lastBlock = (this.#value & 1) === 1;
    this.#expect("body", type === RLE ? 1 : this.#value >> 3);
  }
}
