/** Where a layer's blob may come from beside the store: this node's own cache, a delta, other nodes. Each goes on where
 * the one before it stopped, and the store comes last. None of them is trusted: the whole is hashed. */
import { createHash } from "node:crypto";

import { type Digest, digestAlgorithm, parseDigest } from "@strata/protocol/oci/digest";

import type { BlobCache } from "./blob-cache.ts";
import { PullError } from "./errors.ts";
import type { BlobRequest, RegistryClient } from "./registry-client.ts";

export type BlobSource = {
  /** For the log. */
  readonly name: string;
  /** The blob's bytes from `offset` on; undefined when it has none. It may end early or throw: the next source goes on.
   * It ends soon after the signal aborts. */
  readonly open: (
    request: Required<BlobRequest>,
  ) => AsyncIterable<Buffer> | undefined | Promise<AsyncIterable<Buffer> | undefined>;
  /** Bytes that it gave were part of a blob with another digest: it must not give them again. */
  readonly distrust: (digest: Digest) => void;
};

/** What was kept of an earlier pull. */
export function createCacheSource(blobs: BlobCache): BlobSource {
  return {
    name: "cache",
    open: ({ digest, offset, signal }) => {
      const held = blobs.open(digest);
      if (held === undefined) return undefined;
      held[Symbol.dispose]();
      return readHeld(blobs, { digest, offset, signal });
    },
    distrust: blobs.discard,
  };
}

async function* readHeld(
  blobs: BlobCache,
  { digest, offset, signal }: Pick<Required<BlobRequest>, "digest" | "offset" | "signal">,
): AsyncGenerator<Buffer, void> {
  using blob = blobs.follow(digest);
  if (blob !== undefined) yield* blob.stream(offset, signal);
}

export type BlobFetchOptions = {
  /** In the order in which they are asked. */
  readonly sources: readonly BlobSource[];
  readonly client: Pick<RegistryClient, "streamBlob">;
  readonly logger: { readonly info: (text: string) => void };
};

/** One try to get a blob. */
export class BlobFetch {
  readonly #options: BlobFetchOptions;
  readonly #request: BlobRequest;
  readonly #used = new Set<BlobSource>();
  #receivedBytes = 0;
  #isSpoiled = false;

  constructor(options: BlobFetchOptions, request: BlobRequest) {
    this.#options = options;
    this.#request = request;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** Not all bytes came from the store: what looks wrong with them may be wrong with their source. */
  get isForeign(): boolean {
    return this.#used.size > 0;
  }

  /** The bytes were wrong, and a source that had its part in it gives them no more: another try makes sense. */
  get isSpoiled(): boolean {
    return this.#isSpoiled;
  }

  /** The bytes as they come, `size` of them exactly, and an error in place of an end when they do not hash to the
   * digest.
   * @throws PullError */
  async *stream(): AsyncGenerator<Buffer, void> {
    const { digest } = this.#request;
    const hash = createHash(digestAlgorithm(digest));
    for await (const chunk of this.#chunks()) {
      hash.update(chunk);
      yield chunk;
    }
    const actual = parseDigest(`${digestAlgorithm(digest)}:${hash.digest("hex")}`);
    if (actual === digest) return;
    for (const source of this.#used) source.distrust(digest);
    this.#isSpoiled = this.isForeign;
    throw new PullError(
      "LAYER_DIGEST_MISMATCH",
      `asked for the layer ${digest}, ${this.isForeign ? "got" : "the registry sends"} ${actual}`,
      { retryable: true, hint: "let the store check its blobs, or push the image again" },
    );
  }

  async *#chunks(): AsyncGenerator<Buffer, void> {
    const { size, signal } = this.#request;
    for (const source of this.#options.sources) {
      yield* this.#take(source);
      if (this.#receivedBytes === size) return;
      // The store says what an abort is.
      if (signal.aborted) break;
    }
    const offset = this.#receivedBytes;
    for await (const chunk of this.#options.client.streamBlob({ ...this.#request, offset })) {
      this.#receivedBytes += chunk.length;
      yield chunk;
    }
  }

  async *#take(source: BlobSource): AsyncGenerator<Buffer, void> {
    const { size } = this.#request;
    try {
      const chunks = await source.open({ ...this.#request, offset: this.#receivedBytes });
      for await (const chunk of chunks ?? []) {
        const part = chunk.subarray(0, size - this.#receivedBytes);
        this.#used.add(source);
        this.#receivedBytes += part.length;
        yield part;
        if (part.length < chunk.length) throw new Error(`it gives more than ${size} bytes`);
      }
    } catch (error) {
      const { digest } = this.#request;
      this.#options.logger.info(
        `${digest}: ${source.name} gave up after ${this.#receivedBytes} bytes: ${String(error)}`,
      );
    }
  }
}
