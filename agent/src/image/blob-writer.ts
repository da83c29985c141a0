/** A blob on its way into the cache: written behind the pull, and readable while it grows. */
import { closeSync, openSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

/** Bytes that may wait for the disk before the pull does. */
const QUEUED_BYTES_MAX = 2 * 1024 * 1024;

export type BlobWriter = {
  /** Resolves when there is room for more. Never rejects: a disk that is full costs the cache, not the pull. The bytes
   * must not change afterwards. */
  readonly write: (chunk: Buffer) => Promise<void>;
  /** The bytes hash to the digest: keeps them. Resolves to whether they are kept. */
  readonly commit: () => Promise<boolean>;
  /** Deletes them, unless they were committed. Who reads them sees an end that is an error. */
  readonly abandon: () => Promise<void>;
};

export type GrowthState = "growing" | "whole" | "broken";

/** What is on disk of a blob that is being written. */
export class Growth {
  readonly size: number;
  #path: string;
  #written = 0;
  #state: GrowthState = "growing";
  #changed = Promise.withResolvers<void>();

  constructor(path: string, size: number) {
    this.#path = path;
    this.size = size;
  }

  /** A blob that is whole already. */
  static whole(path: string, size: number): Growth {
    const growth = new Growth(path, size);
    growth.#written = size;
    growth.#state = "whole";
    return growth;
  }

  get path(): string {
    return this.#path;
  }

  get written(): number {
    return this.#written;
  }

  get state(): GrowthState {
    return this.#state;
  }

  /** Resolves at the next change of `written` or `state`. */
  changed(): Promise<void> {
    return this.#changed.promise;
  }

  grow(bytes: number): void {
    this.#written += bytes;
    this.#tell();
  }

  /** It has got its name. */
  complete(path: string): void {
    this.#path = path;
    this.#state = "whole";
    this.#tell();
  }

  break(): void {
    this.#state = "broken";
    this.#tell();
  }

  #tell(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers();
    resolve();
  }
}

/** Appends chunks to a file, many in one call, while the caller goes on. */
export class WriteBehind {
  readonly #growth: Growth;
  readonly #onError: (error: unknown) => void;
  readonly #handle: Promise<FileHandle>;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #pump: Promise<void> | undefined;
  #hasFailed = false;
  #closed: Promise<boolean> | undefined;

  /** The file is there, empty, when this returns. */
  constructor(growth: Growth, onError: (error: unknown) => void) {
    this.#growth = growth;
    this.#onError = onError;
    closeSync(openSync(growth.path, "wx", 0o600));
    this.#handle = open(growth.path, "a");
    this.#handle.catch((error: unknown) => this.#fail(error));
  }

  async write(chunk: Buffer): Promise<void> {
    if (this.#hasFailed || chunk.length === 0) return;
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.length;
    this.#pump ??= this.#drain();
    while (this.#queuedBytes > QUEUED_BYTES_MAX) await this.#growth.changed();
  }

  /** Resolves when nothing is written any more, to whether all was. Safe to repeat. */
  close(): Promise<boolean> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<boolean> {
    await this.#pump;
    const handle = await this.#handle.catch(() => undefined);
    await handle?.close().catch((error: unknown) => this.#fail(error));
    return !this.#hasFailed;
  }

  async #drain(): Promise<void> {
    try {
      const handle = await this.#handle;
      while (this.#queue.length > 0) {
        const batch = this.#queue;
        this.#queue = [];
        await writeAll(handle, batch);
        const bytes = sizeOf(batch);
        this.#queuedBytes -= bytes;
        this.#growth.grow(bytes);
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#pump = undefined;
    }
  }

  #fail(error: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#growth.break();
    this.#onError(error);
  }
}

/** One call may write less than it was given, when the disk is nearly full. */
async function writeAll(handle: FileHandle, batch: readonly Buffer[]): Promise<void> {
  const { bytesWritten } = await handle.writev([...batch]);
  if (bytesWritten === sizeOf(batch)) return;
  const rest = Buffer.concat([...batch]).subarray(bytesWritten);
  if (bytesWritten === 0) throw new Error("the disk takes nothing more");
  await writeAll(handle, [rest]);
}

function sizeOf(batch: readonly Buffer[]): number {
  return batch.reduce((sum, { length }) => sum + length, 0);
}
