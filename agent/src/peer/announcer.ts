/** Keeps the controller's picture of this node's blobs right: everything to a controller that knows nothing, then what
 * changes. What could not be said is said again. */
import { setTimeout as delay } from "node:timers/promises";

import { PEER_PAGE_MAX, type PeerAnnouncement } from "@strata/protocol/agent/peers";
import type { Digest } from "@strata/protocol/oci/digest";

import { createWaker } from "../container/waker.ts";
import type { BlobCache } from "../image/blob-cache.ts";
import { defaultRetryPolicy, pause } from "../image/retry.ts";

export type AnnouncerOptions = {
  readonly announce: (news: PeerAnnouncement, signal: AbortSignal) => Promise<void>;
  readonly blobs: () => Pick<BlobCache, "list" | "stateOf">;
  /** One life of this program. */
  readonly bootId: string;
  readonly logger: { readonly warn: (details: object, text: string) => void };
};

/** Several changes go in one message. */
const GATHER_MS = 50;

export class Announcer {
  readonly #options: AnnouncerOptions;
  readonly #waker = createWaker();
  readonly #stop = new AbortController();
  readonly #changed = new Set<Digest>();
  #port: number | undefined;
  #controllerBootId: string | undefined;
  /** The controller was told everything at some time. */
  #isComplete = false;
  #underWay: Promise<void> = Promise.resolve();

  constructor(options: AnnouncerOptions) {
    this.#options = options;
  }

  /** A blob became whole, or went. */
  changed(digest: Digest): void {
    this.#changed.add(digest);
    this.#waker.wake();
  }

  /** Where this node serves from now on. */
  setPort(port: number): void {
    this.#port = port;
    this.#isComplete = false;
    this.#waker.wake();
  }

  /** Which life of the controller answers. One that says nothing of it takes no announcements. */
  heard(controllerBootId: string | undefined): void {
    if (controllerBootId === this.#controllerBootId) return;
    this.#controllerBootId = controllerBootId;
    this.#isComplete = false;
    this.#waker.wake();
  }

  /** Resolves when no message is on its way that a later one could overtake. */
  async settled(): Promise<void> {
    await this.#underWay;
  }

  /** Runs until `close`. */
  async run(): Promise<void> {
    const { signal } = this.#stop;
    for (let failures = 0; !signal.aborted;) {
      try {
        await this.#say();
        failures = 0;
        await this.#waker.wait();
        await delay(GATHER_MS, undefined, { signal });
      } catch (error) {
        if (signal.aborted) return;
        failures += 1;
        if (failures === 1)
          this.#options.logger.warn({ err: error }, "other nodes do not hear what is here");
        await pause(defaultRetryPolicy, Math.min(failures, 16), signal).catch(() => undefined);
      }
    }
  }

  close(): void {
    this.#stop.abort();
    this.#waker.wake();
  }

  async #say(): Promise<void> {
    if (this.#controllerBootId === undefined) return;
    const { blobs } = this.#options;
    if (!this.#isComplete) {
      this.#isComplete = true;
      this.#changed.clear();
      const all = blobs()
        .list()
        .map(({ digest }) => digest);
      await this.#send({ complete: true, have: all.slice(0, PEER_PAGE_MAX), gone: [] });
      for (let at = PEER_PAGE_MAX; at < all.length; at += PEER_PAGE_MAX)
        await this.#send({ complete: false, have: all.slice(at, at + PEER_PAGE_MAX), gone: [] });
    }
    while (this.#changed.size > 0) {
      const digests = [...this.#changed].slice(0, PEER_PAGE_MAX);
      for (const digest of digests) this.#changed.delete(digest);
      const have = digests.filter((digest) => blobs().stateOf(digest) === "whole");
      const gone = digests.filter((digest) => blobs().stateOf(digest) === undefined);
      await this.#send({ complete: false, have, gone });
    }
  }

  async #send(news: Pick<PeerAnnouncement, "complete" | "have" | "gone">): Promise<void> {
    const { announce, bootId } = this.#options;
    const { signal } = this.#stop;
    const port = this.#port;
    const sent = announce({ bootId, ...(port !== undefined && { port }), ...news }, signal);
    this.#underWay = sent.catch(() => undefined);
    try {
      await sent;
    } catch (error) {
      // Nobody knows what has arrived.
      this.#isComplete = false;
      throw error;
    }
  }
}
