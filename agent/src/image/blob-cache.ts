/** Blobs of layers as the registry has them, compressed: `blobs/<algorithm>/<hex>`. Kept for other nodes, for deltas, and
 * for a layer that was deleted and is wanted again. What was used longest ago goes first.
 *
 * A blob is written while it is pulled and gets its name when its digest is right. Nothing here waits for the disk, so
 * after a loss of power a file may not be what its name says: whoever reads one checks what comes out of it. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from "node:fs";
import { dirname, join } from "node:path";

import { type Digest, isDigest } from "@strata/protocol/oci/digest";

import type { Clock } from "../clock.ts";
import { readGrowing } from "./blob-reader.ts";
import { type BlobWriter, Growth, WriteBehind } from "./blob-writer.ts";
import { digestPath } from "./content.ts";

/** A whole blob that is not deleted before this is disposed of. */
export type HeldBlob = Disposable & { readonly path: string; readonly size: number };

/** A blob that is whole or on its way, not deleted before this is disposed of. */
export type FollowedBlob = Disposable & {
  readonly size: number;
  /** The bytes from `offset` on; waits for those that are not here yet. Throws when they will not come. */
  readonly stream: (offset: number, signal: AbortSignal) => AsyncGenerator<Buffer, void>;
};

export type BlobCache = {
  /** Undefined when it is not here whole. Counts as a use. */
  readonly open: (digest: Digest) => HeldBlob | undefined;
  /** Undefined when it is neither here nor on its way. Counts as a use. */
  readonly follow: (digest: Digest) => FollowedBlob | undefined;
  /** Undefined when it is neither here nor on its way. Counts as no use. */
  readonly stateOf: (digest: Digest) => "whole" | "growing" | undefined;
  /** Whole blobs, the one used longest ago first. */
  readonly list: () => readonly { readonly digest: Digest; readonly size: number }[];
  /** Takes in a blob of exactly `size` bytes. Undefined when it is here, on its way, or there is no room for it. The
   * caller commits or abandons it. */
  readonly writer: (digest: Digest, size: number) => BlobWriter | undefined;
  /** Deletes a whole blob, because it is not what its name says. Absent is fine. */
  readonly discard: (digest: Digest) => void;
  /** Deletes the blob that was used longest ago, of those that nobody holds. False when there is none. */
  readonly dropOldest: () => boolean;
};

export type BlobCacheOptions = {
  /** Belongs to this cache alone. */
  readonly directory: string;
  /** Of all blobs together; 0 keeps nothing. */
  readonly bytesMax: number;
  readonly clock: Clock;
  readonly logger: { readonly warn: (text: string) => void };
  /** A blob became whole, or went, or will not become whole. */
  readonly onChange?: (digest: Digest, change: "kept" | "gone") => void;
};

/** Images made of crumbs must not make this slow to open. */
const BLOBS_MAX = 4096;

/** Deletes what an earlier life left half done. */
export function openBlobCache(options: BlobCacheOptions): BlobCache {
  const cache = new Cache(options);
  return {
    open: (digest) => cache.open(digest),
    follow: (digest) => cache.follow(digest),
    stateOf: (digest) => cache.stateOf(digest),
    list: () => cache.list(),
    writer: (digest, size) => cache.writer(digest, size),
    discard: (digest) => cache.discard(digest),
    dropOldest: () => cache.dropOldest(),
  };
}

type Entry = { readonly growth: Growth; holders: number };

class Cache {
  readonly #options: BlobCacheOptions;
  readonly #incoming: string;
  /** The one used longest ago first. */
  readonly #entries = new Map<Digest, Entry>();
  #writers = 0;

  constructor(options: BlobCacheOptions) {
    this.#options = options;
    this.#incoming = join(options.directory, "incoming");
    mkdirSync(this.#incoming, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#incoming)) rmSync(join(this.#incoming, name));
    for (const { digest, size } of findBlobs(options.directory)) {
      this.#entries.set(digest, { growth: Growth.whole(this.#path(digest), size), holders: 0 });
    }
    this.#makeRoom(0);
  }

  open(digest: Digest): HeldBlob | undefined {
    const entry = this.#use(digest);
    if (entry?.growth.state !== "whole") return undefined;
    return { path: this.#path(digest), size: entry.growth.size, ...hold(entry) };
  }

  follow(digest: Digest): FollowedBlob | undefined {
    const entry = this.#use(digest);
    if (entry === undefined || entry.growth.state === "broken") return undefined;
    const { growth } = entry;
    return {
      size: growth.size,
      stream: (offset, signal) => readGrowing(growth, offset, signal),
      ...hold(entry),
    };
  }

  stateOf(digest: Digest): "whole" | "growing" | undefined {
    const state = this.#entries.get(digest)?.growth.state;
    return state === "broken" ? undefined : state;
  }

  list(): readonly { readonly digest: Digest; readonly size: number }[] {
    return [...this.#entries].flatMap(([digest, { growth }]) =>
      growth.state === "whole" ? [{ digest, size: growth.size }] : [],
    );
  }

  writer(digest: Digest, size: number): BlobWriter | undefined {
    if (this.#entries.has(digest) || !this.#makeRoom(size)) return undefined;
    this.#writers += 1;
    const growth = new Growth(join(this.#incoming, `blob-${this.#writers}.partial`), size);
    const entry: Entry = { growth, holders: 0 };
    try {
      const file = new WriteBehind(growth, (error) => this.#warn(digest, error));
      this.#entries.set(digest, entry);
      return {
        write: (chunk) => file.write(chunk),
        commit: () => this.#commit(digest, entry, file),
        abandon: () => this.#abandon(digest, entry, file),
      };
    } catch (error) {
      this.#warn(digest, error);
      return undefined;
    }
  }

  discard(digest: Digest): void {
    const entry = this.#entries.get(digest);
    if (entry?.growth.state === "whole") this.#remove(digest);
  }

  dropOldest(): boolean {
    const oldest = [...this.#entries].find(([, entry]) => isIdle(entry));
    if (oldest !== undefined) this.#remove(oldest[0]);
    return oldest !== undefined;
  }

  async #commit(digest: Digest, entry: Entry, file: WriteBehind): Promise<boolean> {
    const { growth } = entry;
    const isWritten = await file.close();
    if (isWritten && growth.state === "growing" && growth.written === growth.size) {
      try {
        const path = this.#path(digest);
        mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
        renameSync(growth.path, path);
        growth.complete(path);
        this.#options.onChange?.(digest, "kept");
        return true;
      } catch (error) {
        this.#warn(digest, error);
      }
    }
    await this.#abandon(digest, entry, file);
    return false;
  }

  async #abandon(digest: Digest, entry: Entry, file: WriteBehind): Promise<void> {
    const { growth } = entry;
    if (growth.state === "whole") return;
    growth.break();
    if (this.#entries.get(digest) === entry) {
      this.#entries.delete(digest);
      this.#options.onChange?.(digest, "gone");
    }
    await file.close();
    rmSync(growth.path, { force: true });
  }

  #use(digest: Digest): Entry | undefined {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return undefined;
    this.#entries.delete(digest);
    this.#entries.set(digest, entry);
    if (entry.growth.state === "whole") this.#touch(entry.growth.path);
    return entry;
  }

  /** For the order after a restart. */
  #touch(path: string): void {
    const now = new Date(this.#options.clock());
    try {
      utimesSync(path, now, now);
    } catch {
      // Gone from under us, or a disk that cannot be written: reading it says so.
    }
  }

  /** Deletes what was used longest ago until `size` more bytes fit. */
  #makeRoom(size: number): boolean {
    const { bytesMax } = this.#options;
    const entries = [...this.#entries];
    let bytes = size + sizeOf(entries);
    let blobs = entries.length + (size === 0 ? 0 : 1);
    const idle = entries.filter(([, entry]) => isIdle(entry));
    if (bytes - sizeOf(idle) > bytesMax) return false;
    for (const [digest, { growth }] of idle) {
      if (bytes <= bytesMax && blobs <= BLOBS_MAX) break;
      this.#remove(digest);
      bytes -= growth.size;
      blobs -= 1;
    }
    return bytesMax > 0;
  }

  #remove(digest: Digest): void {
    this.#entries.delete(digest);
    rmSync(this.#path(digest), { force: true });
    this.#options.onChange?.(digest, "gone");
  }

  #path(digest: Digest): string {
    return digestPath(this.#options.directory, digest);
  }

  #warn(digest: Digest, error: unknown): void {
    this.#options.logger.warn(`could not keep the blob ${digest}: ${String(error)}`);
  }
}

function isIdle({ growth, holders }: Entry): boolean {
  return growth.state === "whole" && holders === 0;
}

function sizeOf(entries: readonly (readonly [Digest, Entry])[]): number {
  return entries.reduce((sum, [, { growth }]) => sum + growth.size, 0);
}

function hold(entry: Entry): Disposable {
  let isHeld = true;
  entry.holders += 1;
  return {
    [Symbol.dispose]: () => {
      if (isHeld) entry.holders -= 1;
      isHeld = false;
    },
  };
}

/** What an earlier life kept, the one used longest ago first. */
function findBlobs(
  directory: string,
): readonly { readonly digest: Digest; readonly size: number }[] {
  return ["sha256", "sha512"]
    .flatMap((algorithm) => {
      const folder = join(directory, algorithm);
      if (!existsSync(folder)) return [];
      return readdirSync(folder).flatMap((name) => {
        const digest = `${algorithm}:${name}`;
        if (!isDigest(digest)) return [];
        const { size, mtimeMs } = statSync(join(folder, name));
        return [{ digest, size, mtimeMs }];
      });
    })
    .toSorted((a, b) => a.mtimeMs - b.mtimeMs);
}
