/** The images of this node: pulled once, unpacked once, shared by all containers. */
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";

import type { Digest } from "@strata/protocol/oci/digest";
import type { ImageConfig } from "@strata/protocol/oci/image";

import type { Clock } from "../clock.ts";
import { overLimit } from "../layer/errors.ts";
import { describeReport } from "../layer/report-text.ts";
import { removeTree } from "../rootfs/remove-tree.ts";
import type { SelfCommand } from "../self-exec.ts";
import type { BlobCache } from "./blob-cache.ts";
import type { BlobSource } from "./blob-source.ts";
import { type ContentFolder, openContentFolder } from "./content.ts";
import type { FindDelta } from "./find-delta.ts";
import { defaultImageLimits, type ImageLimits } from "./image-limits.ts";
import {
  getImageRecord,
  type ImageRecord,
  listImageRecords,
  writeImageRecord,
} from "./image-record.ts";
import { createRemoval, type Removal } from "./image-removal.ts";
import {
  getLayer,
  type LayerFolderOptions,
  publishLayer,
  pullLayer,
  type StoredLayer,
} from "./layer-folder.ts";
import type { Architecture, ImageLayer } from "./manifest.ts";
import type { RegistryClient } from "./registry-client.ts";
import { resolveImage, type ResolvedImage } from "./resolve-image.ts";
import { createSemaphore } from "./semaphore.ts";
import { SharedTasks } from "./shared-task.ts";
import { createFileSystemSync } from "./sync.ts";

export type ReadyImage = {
  /** As it was asked for: of a manifest or an index. */
  readonly digest: Digest;
  readonly manifestDigest: Digest;
  readonly config: ImageConfig;
  /** Lowest first, each once. Owned by real ids; whiteouts as overlayfs takes them. Not to be written to. */
  readonly layers: readonly { readonly diffId: Digest; readonly directory: string }[];
};

export type PullProgress = {
  readonly layersReady: number;
  readonly layers: number;
  /** Of the layers that were not here. */
  readonly receivedBytes: number;
  readonly totalBytes: number;
};

export type EnsureOptions = {
  readonly signal: AbortSignal;
  /** Called as often as data arrives; throttle what is costly. A caller that joins a pull under way is told nothing. */
  readonly onProgress?: (progress: PullProgress) => void;
};

export type ImageStore = {
  /** Makes an image ready; needs no registry when everything is here. Callers at the same time share one pull, and
   * images share layers.
   * @throws PullError */
  readonly ensure: (
    image: { readonly repository: string; readonly digest: Digest },
    options: EnsureOptions,
  ) => Promise<ReadyImage>;
  /** Images that were made ready here, in no order. */
  readonly list: () => readonly ImageRecord[];
  /** Forgets an image, and deletes what no other image needs. No container may use it. Absent is fine. */
  readonly remove: (digest: Digest) => Promise<void>;
  /** Deletes what no image needs. Says how many layers there were of it. */
  readonly removeOrphans: () => Promise<number>;
  /** An image is used now, though nobody asks for it to be made ready. Absent is fine. */
  readonly noteUse: (digest: Digest) => void;
};

export type ImageStoreOptions = {
  /** Belongs to this store alone. */
  readonly directory: string;
  readonly client: RegistryClient;
  readonly clock: Clock;
  /** Keeps the compressed layers [they are not kept]. */
  readonly blobs?: BlobCache;
  /** Where they may come from beside the store [nowhere]. */
  readonly sources?: readonly BlobSource[];
  /** Asked for layers before their blobs are fetched [nobody]. */
  readonly findDelta?: FindDelta;
  readonly limits?: ImageLimits;
  readonly logger: { readonly info: (text: string) => void; readonly warn: (text: string) => void };
  /** How to start `unpack-worker`: `selfCommand()`. */
  readonly runner: SelfCommand;
  readonly architecture: Architecture;
  /** Makes what was written to `directory` outlive a loss of power [`sync -f`]. */
  readonly sync?: () => Promise<void>;
};

/** Opens the store, and begins to delete what an earlier life left half done. */
export function createImageStore(options: ImageStoreOptions): ImageStore {
  const store = new Store(options);
  return {
    ensure: (image, ensureOptions) => store.ensure(image, ensureOptions),
    list: () => store.list(),
    remove: (digest) => store.removal.remove(digest),
    removeOrphans: () => store.removal.removeOrphans(),
    noteUse: (digest) => store.noteUse(digest),
  };
}

const LAST_USED_PRECISION_MS = 60 * 60_000;

type Wanted = { readonly repository: string; readonly digest: Digest };

class Store {
  readonly removal: Removal;
  readonly #options: ImageStoreOptions;
  readonly #limits: ImageLimits;
  readonly #contents: ContentFolder;
  readonly #layerFolder: LayerFolderOptions;
  readonly #images = new SharedTasks<ReadyImage>();
  readonly #layers = new SharedTasks<StoredLayer>();
  readonly #records: string;
  readonly #swept: Promise<void>;
  /** Digests that pulls under way rely on, so that `remove` spares them. */
  readonly #inUse = new Map<Digest, number>();
  readonly #atOnce: <T>(work: () => Promise<T>) => Promise<T>;

  constructor(options: ImageStoreOptions) {
    const { directory, client, runner } = options;
    this.#options = options;
    this.#limits = options.limits ?? defaultImageLimits;
    this.#atOnce = createSemaphore(this.#limits.layersAtOnce);
    this.#records = join(directory, "images");
    const incoming = join(directory, "incoming");
    mkdirSync(incoming, { recursive: true, mode: 0o700 });
    this.#swept = this.#sweep(incoming);
    this.#contents = openContentFolder(join(directory, "contents"), incoming);
    this.#layerFolder = {
      directory: join(directory, "layers"),
      incoming,
      client,
      blobs: options.blobs,
      sources: options.sources ?? [],
      findDelta: options.findDelta,
      logger: options.logger,
      runner,
      limits: this.#limits.layer,
      sync: options.sync ?? createFileSystemSync(directory),
    };
    this.removal = createRemoval({
      directory,
      layers: this.#layerFolder,
      pulled: () => this.#images.keys(),
      isHeld: (digest) => this.#inUse.has(digest),
    });
  }

  async ensure(image: Wanted, { signal, onProgress }: EnsureOptions): Promise<ReadyImage> {
    return this.#images.run(image.digest, signal, (shared) =>
      this.#pull(image, { signal: shared, ...(onProgress && { onProgress }) }),
    );
  }

  list(): readonly ImageRecord[] {
    return listImageRecords(this.#records);
  }

  noteUse(digest: Digest): void {
    const known = getImageRecord(this.#records, digest);
    const now = this.#options.clock();
    if (known === undefined || !isDue(known, now)) return;
    writeImageRecord(this.#records, { ...known, lastUsedAtMs: now });
  }

  async #sweep(incoming: string): Promise<void> {
    try {
      await removeTree(...readdirSync(incoming).map((name) => join(incoming, name)));
    } catch (error) {
      this.#options.logger.warn(`could not clear ${incoming}: ${String(error)}`);
    }
  }

  async #pull(image: Wanted, options: EnsureOptions): Promise<ReadyImage> {
    // What is left of an earlier life may be what fills the disk.
    await this.#swept;
    const source = { ...this.#options, contents: this.#contents };
    const resolved = await resolveImage(source, { ...image, signal: options.signal });
    const needed = [...resolved.layers.map(({ diffId }) => diffId), ...resolved.contents];
    this.#hold(needed, 1);
    try {
      const layers = await this.#ensureLayers(image, resolved, options);
      this.#record(image, resolved);
      return {
        digest: image.digest,
        manifestDigest: resolved.manifestDigest,
        config: resolved.config,
        layers: visibleLayers(layers),
      };
    } finally {
      this.#hold(needed, -1);
    }
  }

  /** Not at every use: it would be the slowest part of starting from a ready image. */
  #record(image: Wanted, resolved: ResolvedImage): void {
    const now = this.#options.clock();
    const known = getImageRecord(this.#records, image.digest);
    if (known !== undefined && !isDue(known, now)) return;
    writeImageRecord(this.#records, {
      ...image,
      manifestDigest: resolved.manifestDigest,
      diffIds: resolved.layers.map(({ diffId }) => diffId),
      contents: resolved.contents,
      lastUsedAtMs: now,
    });
  }

  #hold(digests: readonly Digest[], change: 1 | -1): void {
    for (const digest of digests) {
      const users = (this.#inUse.get(digest) ?? 0) + change;
      if (users === 0) this.#inUse.delete(digest);
      else this.#inUse.set(digest, users);
    }
  }

  async #ensureLayers(
    image: Wanted,
    resolved: ResolvedImage,
    options: EnsureOptions,
  ): Promise<readonly StoredLayer[]> {
    const progress = new Progress(resolved.layers, options.onProgress);
    // The first layer that fails ends the pull of the others.
    const abort = new AbortController();
    const signal = AbortSignal.any([options.signal, abort.signal]);
    let archiveBytes = 0;
    const pulls = resolved.layers.map(async (layer) => {
      const stored = await this.#ensureLayer({ ...image, layer, signal, progress });
      archiveBytes += stored.archiveBytes;
      if (archiveBytes > this.#limits.imageBytesMax)
        throw overLimit(`the image holds more than ${this.#limits.imageBytesMax} bytes`);
      progress.onReady();
      return stored;
    });
    try {
      return await Promise.all(pulls);
    } catch (error) {
      abort.abort(error);
      // Nothing may still be at work when the caller is told.
      await Promise.allSettled(pulls);
      throw error;
    }
  }

  async #ensureLayer(want: {
    readonly repository: string;
    readonly layer: ImageLayer;
    readonly signal: AbortSignal;
    readonly progress: Progress;
  }): Promise<StoredLayer> {
    const { repository, layer, signal, progress } = want;
    const { diffId } = layer;
    const stored = getLayer(this.#layerFolder, diffId);
    if (stored !== undefined) return stored;
    return this.#layers.run(diffId, signal, async (shared) => {
      const filled = await this.#atOnce(() => {
        shared.throwIfAborted();
        progress.onStart(layer);
        const onBytes = (bytes: number): void => progress.onBytes(bytes);
        return pullLayer(this.#layerFolder, { repository, layer, signal: shared, onBytes });
      });
      for (const line of describeReport(filled.record))
        this.#options.logger.info(`${repository}: ${line}`);
      return publishLayer(this.#layerFolder, filled);
    });
  }
}

function isDue({ lastUsedAtMs }: ImageRecord, nowMs: number): boolean {
  return Math.abs(nowMs - lastUsedAtMs) >= LAST_USED_PRECISION_MS;
}

class Progress {
  readonly #layers: number;
  readonly #tell: ((progress: PullProgress) => void) | undefined;
  #layersReady = 0;
  #receivedBytes = 0;
  #totalBytes = 0;

  constructor(layers: readonly ImageLayer[], tell: ((progress: PullProgress) => void) | undefined) {
    this.#layers = layers.length;
    this.#tell = tell;
  }

  onStart({ descriptor }: ImageLayer): void {
    this.#totalBytes += descriptor.size;
    this.#report();
  }

  onBytes(bytes: number): void {
    this.#receivedBytes += bytes;
    this.#report();
  }

  onReady(): void {
    this.#layersReady += 1;
    this.#report();
  }

  #report(): void {
    this.#tell?.({
      layersReady: this.#layersReady,
      layers: this.#layers,
      receivedBytes: this.#receivedBytes,
      totalBytes: this.#totalBytes,
    });
  }
}

/** Leaves out what nobody can see: everything below a layer with an opaque root, which overlayfs cannot express, and
 * all but the highest of equal layers, which overlayfs refuses and which the highest covers whole. */
function visibleLayers(
  layers: readonly Pick<StoredLayer, "diffId" | "directory" | "rootOpaque">[],
): ReadyImage["layers"] {
  const lowest = layers.findLastIndex(({ rootOpaque }) => rootOpaque);
  const seen = new Set<Digest>();
  const visible: ReadyImage["layers"][number][] = [];
  for (const { diffId, directory } of layers.slice(Math.max(0, lowest)).toReversed()) {
    if (!seen.has(diffId)) visible.unshift({ diffId, directory });
    seen.add(diffId);
  }
  return visible;
}
