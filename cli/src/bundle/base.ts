/** What the other side has: all that an earlier bundle brought or built on. */
import type { Digest } from "@strata/protocol/oci/digest";
import { type Descriptor, MANIFEST_SIZE_BYTES_MAX } from "@strata/protocol/oci/image";

import { blobFile } from "./contents.ts";
import { invalidBundle } from "./invalid.ts";
import { parseManifest } from "./manifest.ts";
import type { Base } from "./plan.ts";
import type { Bundle } from "./read.ts";

/** The bundle is taken at its word: what it says it holds, the other side has once it was loaded. */
export function baseOf({ id, blobs, contents }: Bundle): Base {
  const known = new Set<Digest>(blobs.keys());
  for (const { digest } of [...contents.required, ...contents.deltas]) known.add(digest);
  // A patch is no blob of an image: it is not kept.
  for (const { patch } of contents.deltas) known.delete(patch.digest);
  return { id, has: (digest) => known.has(digest) };
}

/** The layers of all images of a bundle, by repository. */
export async function readLayers(
  bundle: Bundle,
): Promise<ReadonlyMap<string, ReadonlyMap<Digest, Descriptor>>> {
  const found = new Map<string, Map<Digest, Descriptor>>();
  for (const { repository, descriptor } of bundle.entries) {
    const layers = found.get(repository) ?? new Map<Digest, Descriptor>();
    found.set(repository, layers);
    await addLayers(bundle, descriptor, { layers, seen: new Set() });
  }
  return found;
}

type Found = { readonly layers: Map<Digest, Descriptor>; readonly seen: Set<Digest> };

async function addLayers(bundle: Bundle, descriptor: Descriptor, found: Found): Promise<void> {
  if (found.seen.has(descriptor.digest)) return;
  found.seen.add(descriptor.digest);
  const bytes = await bundle.archive.read(blobFile(descriptor.digest), MANIFEST_SIZE_BYTES_MAX);
  if (bytes === undefined) {
    throw invalidBundle(bundle.path, `manifest ${descriptor.digest} is missing`);
  }
  const { layers, children } = parseManifest(descriptor, bytes);
  for (const layer of layers) found.layers.set(layer.digest, layer);
  for (const child of children) await addLayers(bundle, child, found);
}
