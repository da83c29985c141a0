/** What the other side has: what an earlier bundle brought, or what the store had at some time. */
import { createHash } from "node:crypto";

import { type Digest, digestAlgorithm, digestHex } from "@strata/protocol/oci/digest";
import { type Descriptor, MANIFEST_SIZE_BYTES_MAX } from "@strata/protocol/oci/image";

import { chunksOf } from "../chunks.ts";
import { CliError } from "../errors.ts";
import { blobUrl, headerOf, type StoreClient } from "../store/client.ts";
import { download } from "../store/download.ts";
import { listTags } from "../store/list.ts";
import { collect, type Collection } from "./collect.ts";
import { blobFile } from "./contents.ts";
import { gather } from "./gather.ts";
import { invalidBundle } from "./invalid.ts";
import { parseManifest } from "./manifest.ts";
import type { Bundle } from "./read.ts";

export type Known = {
  /** The bundle that brought it; undefined when none is known. */
  readonly id: Digest | undefined;
  readonly has: (digest: Digest) => boolean;
  /** Layers that a changed one may be told by, as its difference from them. */
  readonly layersOf: (repository: string) => Promise<readonly Descriptor[]>;
  /** Bytes of such a layer; undefined when they cannot be had here any more. */
  readonly read: (repository: string, layer: Descriptor) => Promise<Buffer | undefined>;
};

/** The bundle is taken at its word: what it says it holds, the other side has once it was loaded. */
export function knownByBundle(bundle: Bundle, store: StoreClient, signal: AbortSignal): Known {
  const { id, archive, blobs, contents, entries } = bundle;
  const known = new Set<Digest>(blobs.keys());
  for (const { digest } of [...contents.required, ...contents.deltas]) known.add(digest);
  // A patch is no blob of an image: it is not kept.
  for (const { patch } of contents.deltas) known.delete(patch.digest);
  return {
    id,
    has: (digest) => known.has(digest),
    layersOf: async (repository) => {
      const layers = new Map<Digest, Descriptor>();
      const own = entries.filter((entry) => entry.repository === repository);
      for (const { descriptor } of own) await addLayers(bundle, descriptor, layers);
      return [...layers.values()];
    },
    read: async (repository, layer) => {
      const file = blobs.get(layer.digest);
      if (file === undefined) return readFromStore(store, { repository, layer, signal });
      const bytes = await gather(chunksOf(archive.stream(file)), file.size);
      const actual = createHash(digestAlgorithm(layer.digest)).update(bytes).digest("hex");
      return actual === digestHex(layer.digest) ? bytes : undefined;
    },
  };
}

/** `layers` also remembers what was looked at: no digest is that of a manifest and of a layer. */
async function addLayers(
  bundle: Bundle,
  descriptor: Descriptor,
  layers: Map<Digest, Descriptor>,
): Promise<void> {
  const bytes = await bundle.archive.read(blobFile(descriptor.digest), MANIFEST_SIZE_BYTES_MAX);
  if (bytes === undefined) {
    throw invalidBundle(bundle.path, `manifest ${descriptor.digest} is missing`);
  }
  const manifest = parseManifest(descriptor, bytes);
  for (const layer of manifest.layers) layers.set(layer.digest, layer);
  // An index of indexes is rare, and its images are found by their own entries or not at all.
  for (const child of manifest.children.slice(0, CHILDREN_MAX)) {
    const found = await bundle.archive.read(blobFile(child.digest), MANIFEST_SIZE_BYTES_MAX);
    if (found === undefined) continue;
    for (const layer of parseManifest(child, found).layers) layers.set(layer.digest, layer);
  }
}

const CHILDREN_MAX = 64;
/** Other tags of a repository that are looked at for old layers. */
const TAGS_MAX = 50;

type Since = {
  readonly sinceMs: number;
  readonly collection: Collection;
  readonly signal: AbortSignal;
};

/** What was in the store at `sinceMs`, by what it says itself of each blob: RFC 9110, "Last-Modified".
 * @throws CliError REFUSED by a store that does not say */
export async function knownSince(
  store: StoreClient,
  { sinceMs, collection, signal }: Since,
): Promise<Known> {
  const known = new Set<Digest>();
  for (const { repository, digest } of collection.blobs.values()) {
    if (await wasThere(store, blobUrl(repository, digest), sinceMs)) known.add(digest);
  }
  return {
    id: undefined,
    has: (digest) => known.has(digest),
    layersOf: async (repository) => {
      const tags = (await listTags(store, repository)).slice(-TAGS_MAX);
      const all = await collect(
        store,
        tags.map((tag) => ({ repository, tag })),
      );
      const layers = new Map<Digest, Descriptor>();
      for (const layer of [...all.manifests.values()].flatMap((one) => one.layers)) {
        if (layers.has(layer.digest)) continue;
        if (await wasThere(store, blobUrl(repository, layer.digest), sinceMs)) {
          layers.set(layer.digest, layer);
        }
      }
      return [...layers.values()];
    },
    read: (repository, layer) => readFromStore(store, { repository, layer, signal }),
  };
}

async function wasThere(store: StoreClient, path: string, sinceMs: number): Promise<boolean> {
  const answer = await store.send({ method: "HEAD", path });
  const at = Date.parse(headerOf(answer, "last-modified") ?? "");
  if (answer.status === 200 && !Number.isNaN(at)) return at <= sinceMs;
  throw new CliError("REFUSED", "the store does not say since when it has its blobs", {
    hint: "name the last bundle instead: --base FILE",
  });
}

async function readFromStore(
  store: StoreClient,
  from: { readonly repository: string; readonly layer: Descriptor; readonly signal: AbortSignal },
): Promise<Buffer | undefined> {
  const { digest, size } = from.layer;
  try {
    const path = blobUrl(from.repository, digest);
    return await gather(download(store, { path, digest, size }, from.signal), size);
  } catch (error) {
    if (error instanceof CliError && error.code === "REFUSED") return undefined;
    throw error;
  }
}
