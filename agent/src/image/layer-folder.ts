/** Layers on disk, each unpacked once: `layers/<algorithm>/<hex>/fs` with what is worth knowing in `layer.json`
 * beside it. A layer is filled in `incoming/`, checked, synced, and only then gets its name; so whatever has a name
 * is whole, and whatever is in `incoming/` at start was given up. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { getErrorCode } from "@strata/protocol/errors";
import { type Digest, digestAlgorithm, digestHex, parseDigest } from "@strata/protocol/oci/digest";
import { mediaTypes } from "@strata/protocol/oci/media-type";
import { ZodError } from "zod";

import type { LayerLimits } from "../layer/limits.ts";
import { makePrivateDirectory } from "../layer/staged-directory.ts";
import { LayerRecord } from "../layer/worker-protocol.ts";
import { removeTree } from "../rootfs/remove-tree.ts";
import type { SelfCommand } from "../self-exec.ts";
import type { BlobCache } from "./blob-cache.ts";
import { BlobFetch, type BlobSource } from "./blob-source.ts";
import { digestPath, moveDurably } from "./content.ts";
import { PullError } from "./errors.ts";
import type { FindDelta } from "./find-delta.ts";
import { canInflateApart } from "./inflate-apart.ts";
import type { ImageLayer } from "./manifest.ts";
import type { RegistryClient } from "./registry-client.ts";
import { startUnpackProcess, type UnpackProcess } from "./unpack-process.ts";

export type LayerFolderOptions = {
  readonly directory: string;
  /** On the same file system. */
  readonly incoming: string;
  readonly client: RegistryClient;
  /** Keeps the blobs that are pulled. */
  readonly blobs: BlobCache | undefined;
  /** Asked for a layer before its blob is fetched. */
  readonly findDelta: FindDelta | undefined;
  /** Asked for blobs before the store. */
  readonly sources: readonly BlobSource[];
  readonly logger: { readonly info: (text: string) => void };
  readonly runner: SelfCommand;
  readonly limits: LayerLimits;
  readonly sync: () => Promise<void>;
};

export type StoredLayer = LayerRecord & { readonly directory: string };

export type LayerRequest = {
  readonly repository: string;
  readonly layer: ImageLayer;
  readonly signal: AbortSignal;
  /** Called with the bytes of each chunk that arrived. */
  readonly onBytes: (bytes: number) => void;
};

/** The layer if it is here, whole. A record that does not parse makes it as good as missing. */
export function getLayer(
  { directory }: Pick<LayerFolderOptions, "directory">,
  diffId: Digest,
): StoredLayer | undefined {
  const path = digestPath(directory, diffId);
  try {
    const record = LayerRecord.parse(JSON.parse(readFileSync(join(path, "layer.json"), "utf8")));
    return { ...record, directory: join(path, "fs") };
  } catch (error) {
    if (
      getErrorCode(error) === "ENOENT" ||
      error instanceof SyntaxError ||
      error instanceof ZodError
    )
      return undefined;
    throw error;
  }
}

/** Takes a layer out of the folder, also where the disk is so full that no folder can be made. It must not be in use by a
 * container. */
export async function removeLayer(
  { directory, incoming }: Pick<LayerFolderOptions, "directory" | "incoming">,
  diffId: Digest,
): Promise<void> {
  const trash = chooseTrash(incoming, diffId);
  // First the name, so that a kill half-way leaves no part of a layer under it.
  moveAside(digestPath(directory, diffId), trash);
  await removeTree(trash);
}

const TRASH_MAX = 1000;

/** The same layer may come and go again while an earlier one is still being deleted. */
function chooseTrash(incoming: string, diffId: Digest): string {
  for (let number = 0; number < TRASH_MAX; number += 1) {
    const path = join(incoming, `trash-${digestHex(diffId)}-${number}`);
    if (!existsSync(path)) return path;
  }
  throw new Error(`${incoming} holds ${TRASH_MAX} layers that are being deleted`);
}

function moveAside(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (getErrorCode(error) !== "ENOENT") throw error;
  }
}

/** The last one asks the store alone. */
const TRIES_MAX = 4;
/** zlib is through with a smaller blob before another process has started. */
const APART_BYTES_MIN = 2 * 1024 * 1024;

/** A layer that is unpacked and right, but has no name yet. */
export type FilledLayer = {
  readonly record: LayerRecord;
  readonly staging: string;
};

/** Downloads, checks and unpacks a layer at the same time; anew when a source beside the store gave wrong bytes. When it
 * fails, nothing is left. `publishLayer` must follow.
 * @throws PullError */
export async function pullLayer(
  options: LayerFolderOptions,
  request: LayerRequest,
): Promise<FilledLayer> {
  const { repository, layer, signal } = request;
  const changed = await pullByDelta(options, request);
  if (changed !== undefined) return changed;
  let apart = layer.descriptor.size >= APART_BYTES_MIN && canInflateApart();
  for (let tries = 1; ; tries += 1) {
    const sources = tries < TRIES_MAX ? options.sources : [];
    const fetch = new BlobFetch(
      { ...options, sources },
      { repository, ...layer.descriptor, signal },
    );
    try {
      return await pullOnce(options, request, { fetch, apart });
    } catch (error) {
      // A process that was killed leaves half an archive: only the one that unpacks can say that the blob is damaged.
      const doubtful: boolean = apart && getErrorCode(error) === "LAYER_MALFORMED";
      if ((!fetch.isSpoiled && !doubtful) || signal.aborted) throw error;
      apart &&= !doubtful;
      request.onBytes(-fetch.receivedBytes);
    }
  }
}

/** The archive that a delta makes is taken for a blob of its own. Undefined when there is none, or at any doubt. */
async function pullByDelta(
  options: LayerFolderOptions,
  request: LayerRequest,
): Promise<FilledLayer | undefined> {
  const { repository, layer, signal, onBytes } = request;
  const { digest, size } = layer.descriptor;
  if (options.findDelta === undefined || options.blobs?.stateOf(digest) !== undefined)
    return undefined;
  const archive = await options.findDelta(request);
  if (archive === undefined) return undefined;
  const descriptor = { mediaType: mediaTypes.layer, digest: layer.diffId, size: archive.size };
  const source = { name: "delta", open: () => archive.chunks, distrust: () => undefined };
  const fetch = new BlobFetch(
    { sources: [source], client: noStore, logger: options.logger },
    { repository, ...descriptor, signal },
  );
  try {
    const asArchive = { ...request, layer: { ...layer, descriptor }, onBytes: () => undefined };
    const stored = await pullOnce(options, asArchive, { fetch, apart: false });
    onBytes(size);
    return stored;
  } catch (error) {
    signal.throwIfAborted();
    options.logger.info(`${repository}: ${digest} is pulled whole: ${String(error)}`);
    return undefined;
  }
}

/** No store has a layer under its diffId. */
const noStore: Pick<RegistryClient, "streamBlob"> = {
  streamBlob: () => {
    throw new PullError("LAYER_NOT_FOUND", "the delta made less than the layer");
  },
};

type Try = {
  readonly fetch: BlobFetch;
  /** Leave gzip to a process apart. */
  readonly apart: boolean;
};

async function pullOnce(
  options: LayerFolderOptions,
  request: LayerRequest,
  attempt: Try,
): Promise<FilledLayer> {
  const staging = makePrivateDirectory(join(options.incoming, "layer-"));
  try {
    return { record: await fillLayer(options, request, { ...attempt, staging }), staging };
  } catch (error) {
    await removeTree(staging);
    throw error;
  }
}

/** Gives a layer its name once it is on the disk. Apart from `pullLayer`, so that the next layer is unpacked while the
 * disk writes. When it fails, nothing is left. */
export async function publishLayer(
  options: Pick<LayerFolderOptions, "directory" | "incoming" | "sync">,
  { record, staging }: FilledLayer,
): Promise<StoredLayer> {
  const diffId = parseDigest(record.diffId);
  try {
    await options.sync();
    const path = digestPath(options.directory, diffId);
    // A damaged one may be in the way; two processes never share a store.
    if (existsSync(path)) await removeLayer(options, diffId);
    await moveDurably(staging, path);
    return { ...record, directory: join(path, "fs") };
  } catch (error) {
    await removeTree(staging);
    throw error;
  }
}

async function fillLayer(
  options: LayerFolderOptions,
  request: LayerRequest,
  { staging, fetch, apart }: Try & { readonly staging: string },
): Promise<LayerRecord> {
  const { diffId, descriptor } = request.layer;
  const tree = join(staging, "fs");
  mkdirSync(tree, 0o700);
  const unpacking = startUnpackProcess({
    self: options.runner,
    job: {
      directory: tree,
      algorithm: digestAlgorithm(diffId),
      limits: options.limits,
      blob: descriptor,
    },
    apart,
  });
  try {
    await transfer(fetch, request, { unpacking, blobs: options.blobs });
    const record = await unpacking.layer;
    if (record.diffId !== diffId) {
      throw new PullError(
        "LAYER_DIGEST_MISMATCH",
        `the layer's archive is ${record.diffId}, the config says ${diffId}`,
        {
          hint: "the image was put together wrongly: build and push it again",
        },
      );
    }
    writeFileSync(join(staging, "layer.json"), JSON.stringify(record));
    return record;
  } finally {
    await unpacking.stop();
  }
}

/** Gives the blob to the process as it arrives, and keeps it. */
async function transfer(
  fetch: BlobFetch,
  { layer, onBytes }: LayerRequest,
  {
    unpacking,
    blobs,
  }: { readonly unpacking: UnpackProcess; readonly blobs: BlobCache | undefined },
): Promise<void> {
  const { digest, size } = layer.descriptor;
  let refusal: Error | undefined;
  unpacking.layer.catch((error: unknown) => {
    refusal = error instanceof Error ? error : new Error(String(error));
  });
  const keeper = blobs?.writer(digest, size);
  try {
    for await (const chunk of fetch.stream()) {
      onBytes(chunk.length);
      // Damaged bytes may look like a bad archive: only the whole blob's digest tells which it is.
      if (refusal !== undefined && !fetch.isForeign && !mayBeDamage(refusal)) throw refusal;
      await keeper?.write(chunk);
      await unpacking.write(chunk);
    }
    unpacking.end();
    await keeper?.commit();
  } finally {
    await keeper?.abandon();
  }
}

function mayBeDamage(error: unknown): boolean {
  const code = getErrorCode(error);
  return code === "LAYER_MALFORMED" || code === "LAYER_REFUSED";
}
