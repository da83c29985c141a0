/** Keeps the node's disk from filling up with images that nothing runs: by age, and by how full the disk is. */
import { statfsSync } from "node:fs";

import { getErrorCode } from "@strata/protocol/coded-error";
import type { Digest } from "@strata/protocol/oci/digest";
import type { Logger } from "pino";

import type { Clock } from "../clock.ts";
import type { DiskLimits } from "../config.ts";
import type { BlobCache } from "./blob-cache.ts";
import type { ImageRecord } from "./image-record.ts";
import type { ImageStore } from "./image-store.ts";

export type LayerGcOptions = {
  readonly store: ImageStore;
  readonly blobs: Pick<BlobCache, "dropOldest">;
  /** Images that run, start, are assigned, or are fetched ahead. Asked again before each deletion. */
  readonly inUse: () => ReadonlySet<Digest>;
  readonly limits: DiskLimits;
  /** How full the disk is, 0 to 1. */
  readonly readDisk: () => number;
  readonly clock: Clock;
  readonly logger: Pick<Logger, "info" | "warn">;
};

/** Makes images ready as the store does, with another try after a pass where the disk was too full for a pull. */
export type LayerGc = Pick<ImageStore, "ensure"> & {
  /** One pass. With a goal: deletes until the disk is no fuller. True when something was deleted. */
  readonly collect: (goalShare?: number) => Promise<boolean>;
  /** A pass now, and one a minute until it is disposed. */
  readonly keep: () => Disposable;
};

const PASS_EVERY_MS = 60_000;
/** Passes that make room for one pull. Each leaves at least twice as much free as the pull found. */
const MAKE_ROOM_MAX = 4;
const MORE_ROOM_SHARE = 0.1;

export function createLayerGc(options: LayerGcOptions): LayerGc {
  const { store, readDisk } = options;
  let last: Promise<unknown> = Promise.resolve();
  const collect: LayerGc["collect"] = (goalShare) => {
    const pass = last.then(() => runPass(options, goalShare));
    last = pass.catch(() => undefined);
    return pass;
  };
  return {
    collect,
    keep: () => keepCollecting(options.logger, collect),
    ensure: async (image, ensureOptions) => {
      for (let passes = 0; ; passes += 1) {
        try {
          return await store.ensure(image, ensureOptions);
        } catch (error) {
          if (!isOutOfSpace(error) || passes >= MAKE_ROOM_MAX) throw error;
          const freeShare = 1 - readDisk();
          const wantedShare = Math.max(2 * freeShare, freeShare + MORE_ROOM_SHARE);
          if (!(await collect(Math.max(0, 1 - wantedShare)))) throw error;
        }
      }
    },
  };
}

function keepCollecting(logger: LayerGcOptions["logger"], collect: LayerGc["collect"]): Disposable {
  let isBusy = false;
  const pass = (): void => {
    if (isBusy) return;
    isBusy = true;
    collect()
      .catch((error: unknown) => logger.warn({ err: error }, "no images could be deleted"))
      .finally(() => (isBusy = false));
  };
  pass();
  const timer = setInterval(pass, PASS_EVERY_MS);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function isOutOfSpace(error: unknown): boolean {
  const code = getErrorCode(error);
  return code === "LAYER_NO_SPACE" || code === "ENOSPC";
}

async function runPass(options: LayerGcOptions, goalShare?: number): Promise<boolean> {
  const { store, blobs, inUse, limits, readDisk, clock, logger } = options;
  for (const digest of inUse()) noteUse(store, digest);
  const before = readDisk();
  const goal = goalShare ?? (before > limits.highShare ? limits.lowShare : undefined);
  const isShort = (): boolean => goal !== undefined && readDisk() > goal;
  let deleted = 0;
  // What is quickest to have again goes first: compressed layers, then what pulls that failed left behind.
  while (isShort() && blobs.dropOldest()) deleted += 1;
  if (isShort()) deleted += await store.removeOrphans();
  const { expired, rest } = planRemovals(store.list(), clock(), limits.keepMs);
  for (const { digest, repository } of [...expired, ...rest]) {
    if (!isShort() && !expired.some((one) => one.digest === digest)) break;
    if (inUse().has(digest)) continue;
    await store.remove(digest);
    deleted += 1;
    logger.info({ image: `${repository}@${digest}` }, "deleted an image that nothing runs");
  }
  const after = readDisk();
  if (deleted > 0) logger.info({ deleted, before, after }, "made room on the disk");
  if (isShort()) logger.warn({ share: after, goal }, "the disk stays full: the rest is in use");
  return deleted > 0;
}

/** A disk that takes no more is no reason not to go on: what is deleted makes room. */
function noteUse(store: Pick<ImageStore, "noteUse">, digest: Digest): void {
  try {
    store.noteUse(digest);
  } catch (error) {
    if (getErrorCode(error) !== "ENOSPC") throw error;
  }
}

export type Removals = {
  /** Go in any case. */
  readonly expired: readonly ImageRecord[];
  /** Go when room is short, in this order. */
  readonly rest: readonly ImageRecord[];
};

/** The image that was used longest ago first. Pure. */
export function planRemovals(
  images: readonly ImageRecord[],
  nowMs: number,
  keepMs: number,
): Removals {
  const oldestFirst = images.toSorted(
    (left, right) => left.lastUsedAtMs - right.lastUsedAtMs || compare(left.digest, right.digest),
  );
  const isExpired = ({ lastUsedAtMs }: ImageRecord): boolean =>
    keepMs > 0 && nowMs - lastUsedAtMs > keepMs;
  return {
    expired: oldestFirst.filter(isExpired),
    rest: oldestFirst.filter((image) => !isExpired(image)),
  };
}

function compare(left: Digest, right: Digest): number {
  return left < right ? -1 : 1;
}

/** As `df` says it: what only root may fill counts as full. A disk without room for more files is full as well. */
export function readDiskShare(folder: string): number {
  const { blocks, bfree, bavail, files, ffree } = statfsSync(folder);
  const used = blocks - bfree;
  const bytesShare = used + bavail === 0 ? 1 : used / (used + bavail);
  return Math.max(bytesShare, files === 0 ? 0 : 1 - ffree / files);
}
