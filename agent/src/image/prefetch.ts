/** Fetches images that this node will probably run soon: one at a time, and only while nothing that is wanted now is
 * pulled. What was fetched of an image before it had to give way is kept, layer by layer. */
import type { Digest } from "@strata/protocol/oci/digest";
import type { Logger } from "pino";

import { createWaker } from "../container/waker.ts";
import type { ImageStore } from "./image-store.ts";

export type PrefetchWish = { readonly repository: string; readonly digest: Digest };

export type PrefetcherOptions = {
  readonly store: Pick<ImageStore, "ensure">;
  /** Whether the disk has room for what may never be used. */
  readonly hasRoom: () => boolean;
  readonly logger: Pick<Logger, "info">;
};

export type Prefetcher = Pick<ImageStore, "ensure"> & {
  /** All that is wished for, the likeliest first. What is not named is given up. */
  readonly wish: (wishes: readonly PrefetchWish[]) => void;
  /** Images that are fetched or were. */
  readonly wished: () => readonly Digest[];
  readonly close: () => void;
};

/** After a failure, and while the disk has no room. */
const RETRY_MS = 30_000;

export function createPrefetcher(options: PrefetcherOptions): Prefetcher {
  const prefetcher = new ImagePrefetcher(options);
  void prefetcher.run();
  return {
    ensure: (image, ensureOptions) => prefetcher.ensure(image, ensureOptions),
    wish: (wishes) => prefetcher.wish(wishes),
    wished: () => prefetcher.wished(),
    close: () => prefetcher.close(),
  };
}

type Current = { readonly digest: Digest; readonly abort: AbortController };

class ImagePrefetcher {
  readonly #options: PrefetcherOptions;
  readonly #waker = createWaker();
  readonly #done = new Set<Digest>();
  #wishes: readonly PrefetchWish[] = [];
  #current: Current | undefined;
  /** Pulls under way of what is wanted now. */
  #pulls = 0;
  #isClosed = false;

  constructor(options: PrefetcherOptions) {
    this.#options = options;
  }

  wish(wishes: readonly PrefetchWish[]): void {
    this.#wishes = wishes;
    const digests = new Set(wishes.map(({ digest }) => digest));
    for (const digest of this.#done) if (!digests.has(digest)) this.#done.delete(digest);
    if (this.#current !== undefined && !digests.has(this.#current.digest)) this.#giveWay();
    this.#waker.wake();
  }

  wished(): readonly Digest[] {
    return this.#wishes.map(({ digest }) => digest);
  }

  close(): void {
    this.#isClosed = true;
    this.#giveWay();
    this.#waker.wake();
  }

  /** What is wanted now. An image that is here already disturbs no other. */
  async ensure(
    ...[image, options]: Parameters<ImageStore["ensure"]>
  ): ReturnType<ImageStore["ensure"]> {
    let isPull = false;
    const onProgress: typeof options.onProgress = (progress) => {
      options.onProgress?.(progress);
      if (isPull) return;
      isPull = true;
      this.#pulls += 1;
      // The same image is one pull: it is only no longer ours to end.
      if (this.#current?.digest !== image.digest) this.#giveWay();
    };
    try {
      return await this.#options.store.ensure(image, { ...options, onProgress });
    } finally {
      if (isPull) this.#pulls -= 1;
      this.#waker.wake();
    }
  }

  /** Runs until `close`. */
  async run(): Promise<void> {
    let retryMs: number | undefined;
    while (!this.#isClosed) {
      await this.#waker.wait(retryMs);
      retryMs = undefined;
      for (const wish of this.#wishes) {
        if (this.#isClosed || this.#pulls > 0) break;
        if (this.#done.has(wish.digest)) continue;
        const isDone = this.#options.hasRoom() && (await this.#fetch(wish));
        if (!isDone) {
          retryMs = RETRY_MS;
          break;
        }
      }
    }
  }

  async #fetch({ repository, digest }: PrefetchWish): Promise<boolean> {
    const { store, logger } = this.#options;
    const abort = new AbortController();
    this.#current = { digest, abort };
    try {
      await store.ensure({ repository, digest }, { signal: abort.signal });
      this.#done.add(digest);
      logger.info({ repository, digest }, "fetched an image beforehand");
      return true;
    } catch (error) {
      if (!abort.signal.aborted) logger.info({ err: error, repository, digest }, "not fetched");
      return false;
    } finally {
      this.#current = undefined;
    }
  }

  #giveWay(): void {
    this.#current?.abort.abort();
  }
}
