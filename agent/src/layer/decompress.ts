/** From the bytes of a layer blob to those of its archive. */
import { createGunzip, createZstdDecompress, type Gunzip, type ZstdDecompress } from "node:zlib";

import { LayerError, malformed, overLimit } from "./errors.ts";
import type { LayerLimits } from "./limits.ts";
import { ZstdFrames } from "./zstd-frames.ts";

export type GrowthLimits = Pick<LayerLimits, "ratioMax" | "ratioGraceBytes" | "unpackedBytesMax">;

/** Inflating runs on the thread pool, one chunk ahead of the reader. Large chunks keep the hand-overs few. */
const CHUNK_BYTES = 256 * 1024;
const decoderOptions = { chunkSize: CHUNK_BYTES, highWaterMark: 4 * CHUNK_BYTES };

/** Deno's decoder ends behind the first frame of several. */
const oneFrameOnly = "Deno" in globalThis;

/** Yields the archive's bytes; chunks are only valid until the next one is asked for. Compression is found out from the
 * first bytes, as Go's tools do it, because media types are often wrong. Bounds what a bomb can make of its input.
 * @throws LayerError LAYER_MALFORMED, LAYER_LIMIT; and what `input` throws */
export async function* decompress(
  input: AsyncIterable<Buffer>,
  limits: GrowthLimits,
): AsyncGenerator<Buffer, void> {
  const source = new CountedInput(input);
  const start = await source.peek();
  yield* boundGrowth(decode(source, start), limits, () => source.bytes);
}

/** Passes an archive on, and stops a bomb while it grows. `packedBytes` is what it was made of so far, at most.
 * @throws LayerError LAYER_LIMIT */
export async function* boundGrowth(
  archive: AsyncIterable<Buffer> | Iterable<Buffer>,
  limits: GrowthLimits,
  packedBytes: () => number,
): AsyncGenerator<Buffer, void> {
  let unpacked = 0;
  for await (const chunk of archive) {
    unpacked += chunk.length;
    if (unpacked > limits.unpackedBytesMax)
      throw overLimit(`the archive is longer than ${limits.unpackedBytesMax} bytes`);
    if (unpacked > limits.ratioGraceBytes && unpacked > limits.ratioMax * packedBytes()) {
      throw overLimit(`the layer grows to more than ${limits.ratioMax} times its compressed size`);
    }
    yield chunk;
  }
}

function decode(source: CountedInput, start: Buffer): AsyncIterable<Buffer> {
  if (isGzip(start)) return gunzip(source);
  if (start.length >= 4 && isZstdMagic(start.readUInt32LE(0))) return unzstd(source);
  return source.chunks();
}

export function isGzip(start: Buffer): boolean {
  return start.length >= 2 && start[0] === 0x1f && start[1] === 0x8b;
}

function isZstdMagic(magic: number): boolean {
  return magic === 0xfd2fb528 || magic - (magic % 16) === 0x184d2a50;
}

async function* gunzip(source: CountedInput): AsyncGenerator<Buffer, void> {
  const decoder = createGunzip({ ...decoderOptions });
  yield* runDecoder(decoder, source.chunks());
  // Zeros behind the last member are left unread by zlib; Go refuses them.
  if (decoder.bytesWritten !== source.bytes)
    throw malformed("data follows the end of the gzip stream");
}

async function* unzstd(source: CountedInput): AsyncGenerator<Buffer, void> {
  const frames = new ZstdFrames();
  const decoder = createZstdDecompress({ ...decoderOptions });
  yield* runDecoder(decoder, watchFrames(source.chunks(), frames));
  frames.end();
}

async function* watchFrames(
  chunks: AsyncIterable<Buffer>,
  frames: ZstdFrames,
): AsyncGenerator<Buffer, void> {
  for await (const chunk of chunks) {
    frames.write(chunk);
    if (oneFrameOnly && frames.frames > 1) {
      throw malformed("Deno cannot read zstd of several frames: use the agent's own binary");
    }
    yield chunk;
  }
}

async function* runDecoder(
  decoder: Gunzip | ZstdDecompress,
  input: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer, void> {
  const feeding = feed(decoder, input);
  // Its error reaches the reader through the decoder, which it destroys.
  feeding.catch(() => undefined);
  try {
    for await (const chunk of decoder) yield chunk;
  } catch (cause) {
    if (cause instanceof LayerError || !isDecoderError(cause)) throw cause;
    throw new LayerError("LAYER_MALFORMED", "the compressed data is damaged or cut off", { cause });
  }
  await feeding;
}

async function feed(decoder: Gunzip | ZstdDecompress, input: AsyncIterable<Buffer>): Promise<void> {
  let wake = (): void => undefined;
  const onReady = (): void => wake();
  decoder.on("drain", onReady).on("close", onReady);
  try {
    for await (const chunk of input) {
      if (decoder.destroyed) return;
      if (decoder.write(chunk)) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    decoder.end();
  } catch (error) {
    decoder.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}

function isDecoderError(error: unknown): boolean {
  return (
    error instanceof Error && "code" in error && /^(?:Z_|ZSTD_|ERR_.*Z)/.test(String(error.code))
  );
}

/** Counts bytes as they are taken, and lets the first ones be looked at. */
class CountedInput {
  readonly #iterator: AsyncIterator<Buffer>;
  #start: Buffer = Buffer.alloc(0);
  bytes = 0;

  constructor(input: AsyncIterable<Buffer>) {
    this.#iterator = input[Symbol.asyncIterator]();
  }

  /** At least four bytes, unless the input is shorter. */
  async peek(): Promise<Buffer> {
    while (this.#start.length < 4) {
      const next = await this.#iterator.next();
      if (next.done === true) break;
      this.#start = Buffer.concat([this.#start, next.value]);
    }
    return this.#start;
  }

  async *chunks(): AsyncGenerator<Buffer, void> {
    if (this.#start.length > 0) {
      this.bytes += this.#start.length;
      yield this.#start;
    }
    for (;;) {
      const next = await this.#iterator.next();
      if (next.done === true) return;
      this.bytes += next.value.length;
      yield next.value;
    }
  }
}
