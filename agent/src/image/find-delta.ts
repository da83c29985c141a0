/** A layer's archive put together from an older one of this node and a delta of the controller's, for lines that are
 * slow. Any doubt at any step and the layer is pulled whole. */
import { readFileSync } from "node:fs";

import { ARCHIVE_BYTES_MAX } from "@strata/protocol/delta/unpack-archive";
import type { Digest } from "@strata/protocol/oci/digest";

import type { DeltaMode } from "../config.ts";
import { startPiped, waitForEnd } from "../host/run-tool.ts";
import type { SelfCommand } from "../self-exec.ts";
import type { BlobCache, HeldBlob } from "./blob-cache.ts";
import { chooseBases, type OlderLayer } from "./choose-bases.ts";
import type { AskDelta, Delta } from "./delta-client.ts";
import type { DeltaJob } from "./delta-job.ts";
import type { ImageLayer } from "./manifest.ts";
import type { StoreSpeed } from "./store-speed.ts";

export type DeltaOptions = {
  readonly mode: DeltaMode;
  /** Has layers as they were pulled, and under their diffId those that a delta made. */
  readonly cache: Pick<BlobCache, "open">;
  readonly ask: AskDelta;
  /** Layers that earlier images of a repository had, in any order. */
  readonly olderLayers: (repository: string) => readonly OlderLayer[];
  readonly speed: Pick<StoreSpeed, "bytesPerSecond">;
  /** How to start `delta-worker`. */
  readonly runner: SelfCommand;
  readonly logger: { readonly info: (text: string) => void };
};

export type DeltaWant = {
  readonly repository: string;
  readonly layer: ImageLayer;
  readonly signal: AbortSignal;
};

/** The archive as it comes: `size` bytes whose diffId is right. */
export type MadeArchive = { readonly size: number; readonly chunks: AsyncIterable<Buffer> };

/** Undefined when the layer is better pulled whole. Throws only when the signal aborts. */
export type FindDelta = (want: DeltaWant) => Promise<MadeArchive | undefined>;

/** Smaller ones are as quickly pulled. */
const BLOB_BYTES_MIN = 16 * 1024;
/** On a faster line the whole layer is there before a delta has been asked for, made and applied. */
const SLOW_BYTES_PER_SECOND = 10 * 1024 * 1024;
const WAIT_MS_MIN = 2000;
const WAIT_MS_MAX = 180_000;
/** Of a layer's archive, while it is put together. */
const MEMORY_FACTOR = 4;

export function createFindDelta(options: DeltaOptions): FindDelta {
  const { cache, logger } = options;
  return async (want) => {
    const { repository, layer, signal } = want;
    const { digest, size } = layer.descriptor;
    const waitMs = patience(options, size);
    if (waitMs === undefined) return undefined;
    using held = new DisposableStack();
    const bases = new Map<Digest, string>();
    for (const base of chooseBases(layer.descriptor, options.olderLayers(repository))) {
      const file = open(cache, base);
      if (file !== undefined) bases.set(base.digest, held.use(file).path);
    }
    if (bases.size === 0) return undefined;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(waitMs)]);
    try {
      const request = { repository, digest, bases: [...bases.keys()] };
      const delta = await options.ask(request, { bytesMax: size, signal: limit });
      if (delta === undefined) return undefined;
      requireRoom(delta.archiveBytes);
      const job = {
        bases: delta.bases.map((base) => bases.get(base) ?? ""),
        diffId: layer.diffId,
        size: delta.archiveBytes,
      };
      const chunks = await putTogether(options.runner, { job, delta, signal: limit });
      logger.info(`${repository}: ${digest} by ${delta.bytes.length} bytes of change`);
      return { size: delta.archiveBytes, chunks };
    } catch (error) {
      signal.throwIfAborted();
      logger.info(`${repository}: ${digest} is pulled whole: ${String(error)}`);
      return undefined;
    }
  };
}

/** How long a delta may take: no longer than the blob itself. Undefined: it is not asked for. */
function patience({ mode, speed }: DeltaOptions, size: number): number | undefined {
  if (mode === "off" || size < BLOB_BYTES_MIN) return undefined;
  if (mode === "always") return WAIT_MS_MAX;
  const bytesPerSecond = speed.bytesPerSecond();
  if (bytesPerSecond === undefined || bytesPerSecond > SLOW_BYTES_PER_SECOND) return undefined;
  const wholeMs = (1000 * size) / bytesPerSecond;
  return wholeMs < WAIT_MS_MIN ? undefined : Math.round(Math.min(wholeMs, WAIT_MS_MAX));
}

function open(cache: Pick<BlobCache, "open">, layer: OlderLayer): HeldBlob | undefined {
  return cache.open(layer.digest) ?? cache.open(layer.diffId);
}

/** Half of what is free, so that what runs here is not pushed out. */
function requireRoom(archiveBytes: number): void {
  const memory = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8"));
  const most = (Number(memory?.[1] ?? 0) * 1024) / 2 / MEMORY_FACTOR;
  if (archiveBytes > Math.min(most, ARCHIVE_BYTES_MAX))
    throw new Error("it is too large to be made");
}

type Making = { readonly job: DeltaJob; readonly delta: Delta; readonly signal: AbortSignal };

/** Resolves with the first byte: the worker has read the bases then, and gives none before all bytes are right. */
async function putTogether(
  runner: SelfCommand,
  { job, delta, signal }: Making,
): Promise<AsyncIterable<Buffer>> {
  const child = startPiped(runner.file, [...runner.args, "delta-worker", JSON.stringify(job)]);
  const ended = waitForEnd(child, "delta-worker");
  ended.catch(() => undefined);
  const kill = (): void => void child.kill("SIGKILL");
  signal.addEventListener("abort", kill, { once: true });
  // It may end before it has read all; its exit code says why.
  child.stdin.on("error", () => undefined);
  child.stdin.end(delta.bytes);
  child.stderr.resume();
  const chunks: AsyncIterator<Buffer> = child.stdout[Symbol.asyncIterator]();
  const first = await chunks.next();
  if (first.done === true) throw new Error(`it could not be put together (${await ended})`);
  return resume(first.value, chunks, kill);
}

async function* resume(
  first: Buffer,
  rest: AsyncIterator<Buffer>,
  kill: () => void,
): AsyncGenerator<Buffer, void> {
  try {
    yield first;
    for (;;) {
      const next = await rest.next();
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    // A reader that has lost interest leaves it stuck at a full pipe.
    kill();
  }
}
