/** Other nodes as a source of blobs. The controller names one at a time; when it fails, the next goes on where it
 * stopped. Whatever else is amiss, the store is asked. */
import { setTimeout as delay } from "node:timers/promises";

import type { PeerAnswer, PeerSearch } from "@strata/protocol/agent/peers";
import type { Digest } from "@strata/protocol/oci/digest";

import type { BlobCache } from "../image/blob-cache.ts";
import type { BlobSource } from "../image/blob-source.ts";
import type { BlobRequest } from "../image/registry-client.ts";
import { downloadFromPeer } from "./download.ts";

export type PeerSourceOptions = {
  readonly find: (search: PeerSearch, signal: AbortSignal) => Promise<PeerAnswer>;
  readonly blobs: Pick<BlobCache, "follow">;
  /** Who signed the certificates of nodes; undefined while that is not known. */
  readonly caPem: () => string | undefined;
  readonly logger: { readonly info: (text: string) => void };
};

/** Answers of the controller for one blob, waits included. */
const ANSWERS_MAX = 80;
const FAILURES_MAX = 8;
const LIARS_MAX = 64;
const BLOBS_MAX = 1000;

export function createPeerSource(options: PeerSourceOptions): BlobSource {
  const source = new PeerSource(options);
  return {
    name: "peers",
    open: (request) => source.open(request),
    distrust: (digest) => source.distrust(digest),
  };
}

class PeerSource {
  readonly #options: PeerSourceOptions;
  /** Nodes that gave bytes of the blob in this try, and those whose bytes were wrong in an earlier one. */
  readonly #givers = new Map<Digest, Set<string>>();
  readonly #liars = new Map<Digest, Set<string>>();

  constructor(options: PeerSourceOptions) {
    this.#options = options;
  }

  open(request: Required<BlobRequest>): AsyncIterable<Buffer> | undefined {
    const { blobs, caPem } = this.#options;
    const ca = caPem();
    using own = blobs.follow(request.digest);
    // Who keeps nothing could serve nobody, and others would wait for it in vain.
    return own === undefined || ca === undefined ? undefined : this.#stream(request, ca);
  }

  distrust(digest: Digest): void {
    const liars = this.#liars.get(digest) ?? new Set();
    for (const nodeId of this.#givers.get(digest) ?? [])
      if (liars.size < LIARS_MAX) liars.add(nodeId);
    this.#liars.delete(digest);
    this.#liars.set(digest, liars);
    const [oldest] = this.#liars.keys();
    if (this.#liars.size > BLOBS_MAX && oldest !== undefined) this.#liars.delete(oldest);
  }

  async *#stream(request: Required<BlobRequest>, ca: string): AsyncGenerator<Buffer, void> {
    const { repository, digest, size, signal } = request;
    const { find, logger } = this.#options;
    const liars = [...(this.#liars.get(digest) ?? [])];
    const wrong = liars.map((nodeId) => ({ nodeId, why: "wrong" as const }));
    const givers = new Set<string>();
    this.#givers.set(digest, givers);
    try {
      let { offset } = request;
      let failed: PeerSearch["failed"] = wrong;
      let failures = 0;
      for (let answers = 0; answers < ANSWERS_MAX && failures < FAILURES_MAX; answers += 1) {
        const peer = await find({ repository, digest, failed }, signal);
        failed = [];
        if (peer.kind === "store") return;
        if (peer.kind === "wait") {
          await delay(peer.waitMs, undefined, { signal });
          continue;
        }
        try {
          for await (const chunk of downloadFromPeer(peer, ca, { ...request, offset })) {
            givers.add(peer.nodeId);
            offset += chunk.length;
            yield chunk;
          }
          if (offset >= size) return;
        } catch (error) {
          signal.throwIfAborted();
          logger.info(`${digest}: ${peer.nodeId} gave up after ${offset} bytes: ${String(error)}`);
        }
        failures += 1;
        failed = [{ nodeId: peer.nodeId, why: "unreachable" }];
      }
    } finally {
      if (givers.size === 0) this.#givers.delete(digest);
    }
  }
}
