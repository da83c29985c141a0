/** A layer put together from an older one of this node and a delta of the controller's, for lines that are slow. Any
 * doubt at any step and the layer is pulled whole. */
import { readFileSync } from "node:fs";

import type { Digest } from "@strata/protocol/oci/digest";

import type { DeltaMode } from "../config.ts";
import { startPiped, waitForEnd } from "../host/run-tool.ts";
import type { SelfCommand } from "../self-exec.ts";
import type { BlobCache, HeldBlob } from "./blob-cache.ts";
import type { BlobSource } from "./blob-source.ts";
import { chooseBases, type LayerBlob } from "./choose-bases.ts";
import type { AskDelta } from "./delta-client.ts";
import type { DeltaJob } from "./delta-job.ts";
import type { StoreSpeed } from "./store-speed.ts";

export type DeltaSourceOptions = {
  readonly mode: DeltaMode;
  readonly cache: Pick<BlobCache, "open">;
  readonly ask: AskDelta;
  /** Layers that earlier images of a repository had, in any order. */
  readonly olderLayers: (repository: string) => readonly LayerBlob[];
  readonly speed: Pick<StoreSpeed, "bytesPerSecond">;
  /** How to start `delta-worker`. */
  readonly runner: SelfCommand;
  readonly logger: { readonly info: (text: string) => void };
};

type Want = Parameters<BlobSource["open"]>[0];

/** Smaller ones are as quickly pulled. */
const BLOB_BYTES_MIN = 16 * 1024;
/** To put a blob together takes about this long as well: a line that is faster makes no use of it. */
const SLOW_BYTES_PER_SECOND = 5 * 1024 * 1024;
/** What is fetched sooner than this is not worth a question. */
const WAIT_MS_MIN = 2000;
const WAIT_MS_MAX = 180_000;
/** Of a blob's size, while it is put together. */
const MEMORY_FACTOR = 12;

/** Gives blobs whose digest it has checked. */
export function createDeltaSource(options: DeltaSourceOptions): BlobSource {
  return {
    name: "delta",
    open: (want) => openDelta(options, want),
    distrust: () => undefined,
  };
}

async function openDelta(
  options: DeltaSourceOptions,
  want: Want,
): Promise<AsyncIterable<Buffer> | undefined> {
  const { repository, digest, size, offset, signal } = want;
  // Another source has begun: the rest is less than the whole.
  const waitMs = offset > 0 ? undefined : patience(options, size);
  if (waitMs === undefined) return undefined;
  const bases = chooseBases(want, options.olderLayers(repository)).filter((base) =>
    isHeld(options.cache, base),
  );
  if (bases.length === 0 || !hasMemoryFor(size)) return undefined;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(waitMs)]);
  const request = { repository, digest, bases: [...bases] };
  const delta = await options.ask(request, { bytesMax: size, signal: limit });
  if (delta === undefined) return undefined;
  const made = await putTogether(options, { ...want, signal: limit }, delta);
  options.logger.info(`${repository}: ${digest} by ${delta.bytes.length} bytes of change`);
  return made;
}
/** How long a delta may take: no longer than the blob itself. Undefined: it is not asked for. */
function patience({ mode, speed }: DeltaSourceOptions, size: number): number | undefined {
  if (mode === "off" || size < BLOB_BYTES_MIN) return undefined;
  if (mode === "always") return WAIT_MS_MAX;
  const bytesPerSecond = speed.bytesPerSecond();
  if (bytesPerSecond === undefined || bytesPerSecond > SLOW_BYTES_PER_SECOND) return undefined;
  const wholeMs = (1000 * size) / bytesPerSecond;
  return wholeMs < WAIT_MS_MIN ? undefined : Math.round(Math.min(wholeMs, WAIT_MS_MAX));
}

function isHeld(cache: Pick<BlobCache, "open">, digest: Digest): boolean {
  using held = cache.open(digest);
  return held !== undefined;
}

/** Half of what is free, so that what runs here is not pushed out. */
function hasMemoryFor(size: number): boolean {
  const [, kibibytes] =
    /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8")) ?? [];
  return size * MEMORY_FACTOR < (Number(kibibytes ?? 0) * 1024) / 2;
}

type Delta = { readonly bases: readonly Digest[]; readonly bytes: Buffer };

/** Resolves with the first byte: the worker gives none before all of them are right. */
async function putTogether(
  { cache, runner }: DeltaSourceOptions,
  { digest, size, signal }: Want,
  delta: Delta,
): Promise<AsyncIterable<Buffer>> {
  using bases = new DisposableStack();
  const paths = delta.bases.map((base) => requireHeld(bases.use(cache.open(base)), base).path);
  const job: DeltaJob = { bases: paths, digest, size };
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

function requireHeld(held: HeldBlob | undefined, digest: Digest): HeldBlob {
  if (held === undefined) throw new Error(`${digest} is no longer here`);
  return held;
}
