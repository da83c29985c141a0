import { setTimeout } from "node:timers/promises";

import { getErrorCode } from "@strata/protocol/errors";
import { type Digest, digestAlgorithm } from "@strata/protocol/oci/digest";

import type { BlobReader } from "./blob-store.ts";
import type { BufferPool } from "./buffer-pool.ts";
import { createKeyedLock } from "./keyed-lock.ts";
import type { MetadataStore } from "./metadata-store.ts";
import type { RepairBlob } from "./repair-blob.ts";
import { createRunningHash } from "./running-hash.ts";
import type { StoredBlobs } from "./stored-blobs.ts";

export type Scrub = {
  /** Reads no faster than this [20 MiB/s]. */
  readonly bytesPerSecondMax?: number;
  /** Stops after about so long, to go on there next time, also after a restart [no limit]. */
  readonly durationMsMax?: number;
  readonly signal?: AbortSignal;
  /** Say what is damaged, begin at the first blob, and change nothing [false]. */
  readonly dryRun?: boolean;
  /** Told of each blob that was read. */
  readonly onProgress?: (done: { readonly blobs: number; readonly bytes: number }) => void;
};

export type ScrubReport = {
  readonly blobs: number;
  readonly bytes: number;
  /** Found lost or altered, and taken out of service. */
  readonly corrupt: readonly Digest[];
  /** Brought back by the embedder's `repair`, whoever found the damage. */
  readonly repaired: readonly Digest[];
  /** Claimed by a repository, and not to be had: a push of them brings them back. */
  readonly lost: readonly Digest[];
  /** Whether it came to the end of all blobs. The next one begins anew. */
  readonly complete: boolean;
};

export type ScrubberOptions = {
  readonly blobs: BlobReader;
  readonly metadata: Pick<
    MetadataStore,
    "listBlobs" | "listLostBlobs" | "findProgress" | "setProgress"
  >;
  readonly storedBlobs: Pick<StoredBlobs, "distrust">;
  readonly repair: RepairBlob;
  readonly buffers: BufferPool;
  readonly clock: () => number;
};

const TASK = "scrub";
/** Blobs between two commits of the position; a crash repeats as many at most. */
const PAGE = 32;
/** Lost blobs that one turn tries to bring back. */
const REPAIRS_MAX = 100;
const BYTES_PER_SECOND = 20 * 1024 * 1024;

/** Hashes stored blobs one after the other, in the order of their digests. Damaged ones are quarantined and, when
 * there is a source, brought back; so are those that readers found damaged before. */
export function createScrubber(
  options: ScrubberOptions,
): (request?: Scrub) => Promise<ScrubReport> {
  const lock = createKeyedLock();
  return (request = {}) => lock("", () => scrub(options, request));
}

async function scrub(options: ScrubberOptions, request: Scrub): Promise<ScrubReport> {
  const { metadata, storedBlobs, clock } = options;
  const pace = createPace(options, request);
  const endAt = clock() + (request.durationMsMax ?? Infinity);
  const corrupt: Digest[] = [];
  let blobs = 0;
  const { dryRun = false } = request;
  let last = dryRun ? undefined : await metadata.findProgress(TASK);
  let complete = false;
  const mayGoOn = (): boolean => request.signal?.aborted !== true && clock() < endAt;
  while (!complete && mayGoOn()) {
    const page = await metadata.listBlobs({ last, limit: PAGE });
    for (const digest of page) {
      const verdict = await readThrough(options, digest, pace);
      if (verdict === "aborted") break;
      blobs += 1;
      last = digest;
      request.onProgress?.({ blobs, bytes: pace.bytes() });
      const isDamaged = verdict === "unsound" && (dryRun || (await storedBlobs.distrust(digest)));
      if (isDamaged) corrupt.push(digest);
      if (!mayGoOn()) break;
    }
    complete = page.length < PAGE && last === (page.at(-1) ?? last) && mayGoOn();
    if (!dryRun) await metadata.setProgress(TASK, complete ? undefined : last);
  }
  const { repaired, lost } = dryRun
    ? { repaired: [], lost: await metadata.listLostBlobs(REPAIRS_MAX) }
    : await repairLost(options, request.signal);
  return { blobs, bytes: pace.bytes(), corrupt, repaired, lost, complete };
}

type Pace = {
  readonly bytes: () => number;
  /** Waits until so many more bytes are due. False when the scrub shall end. */
  readonly spend: (bytes: number) => Promise<boolean>;
};

function createPace({ clock }: Pick<ScrubberOptions, "clock">, request: Scrub): Pace {
  const { bytesPerSecondMax = BYTES_PER_SECOND, signal } = request;
  const startedAt = clock();
  let total = 0;
  return {
    bytes: () => total,
    spend: async (bytes) => {
      total += bytes;
      const pauseMs = Math.max(startedAt + (total / bytesPerSecondMax) * 1_000 - clock(), 0);
      await setTimeout(pauseMs, undefined, signal === undefined ? {} : { signal }).catch(
        () => undefined,
      );
      return signal?.aborted !== true;
    },
  };
}

/** Reads as `hashStored`, but slowly. A blob that was deleted meanwhile is for `distrust` to tell from a lost one. */
async function readThrough(
  { blobs, buffers }: ScrubberOptions,
  digest: Digest,
  pace: Pace,
): Promise<"sound" | "unsound" | "aborted"> {
  await using blob = await blobs.open(digest);
  if (blob === undefined) return "unsound";
  const hash = createRunningHash(digestAlgorithm(digest));
  const buffer = buffers.take();
  try {
    while (hash.hashedBytes() < blob.sizeBytes) {
      const count = await blob.read(buffer, hash.hashedBytes());
      if (count === 0) break;
      hash.update(buffer.subarray(0, count));
      if (!(await pace.spend(count))) return "aborted";
    }
  } catch (error) {
    if (getErrorCode(error) !== "EIO") throw error;
    // The disk does not give it any more. Another read, in `distrust`, decides.
    return "unsound";
  } finally {
    buffers.give(buffer);
  }
  return hash.digest() === digest ? "sound" : "unsound";
}

async function repairLost(
  { metadata, repair }: ScrubberOptions,
  signal: AbortSignal | undefined,
): Promise<Pick<ScrubReport, "repaired" | "lost">> {
  const repaired: Digest[] = [];
  const lost: Digest[] = [];
  for (const digest of await metadata.listLostBlobs(REPAIRS_MAX)) {
    const done = signal?.aborted !== true && (await repair(digest));
    (done ? repaired : lost).push(digest);
  }
  return { repaired, lost };
}
