/** Makes deltas for layers that changed a little. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";

import { applyDelta, createDelta } from "@strata/protocol/delta/delta";
import { type Digest, digestAlgorithm, digestHex } from "@strata/protocol/oci/digest";
import type { Descriptor } from "@strata/protocol/oci/image";
import { layerCompression } from "@strata/protocol/oci/media-type";

import { blobUrl, type StoreClient } from "../store/client.ts";
import { download } from "../store/download.ts";
import { blobFile, type Delta, sha256Of } from "./contents.ts";
import { gather } from "./gather.ts";
import type { Known } from "./known.ts";
import type { BundleFile } from "./write.ts";

export type MadeDelta = { readonly delta: Delta; readonly file: BundleFile };

export type DeltaRequest = {
  readonly store: StoreClient;
  readonly known: Known;
  /** Blobs that would be written whole. */
  readonly blobs: readonly LayerBlob[];
  /** A folder for the patches. */
  readonly scratch: string;
  readonly signal: AbortSignal;
};

type LayerBlob = Descriptor & { readonly repository: string };

/** Smaller ones gain nothing, larger ones do not fit into memory four times. */
const BLOB_BYTES_MIN = 4096;
export const DELTA_BLOB_BYTES_MAX = 512 * 1024 * 1024;
const SOURCES_MAX = 2;
/** A layer that is this many times larger or smaller is hardly an earlier one of the same. */
const RATIO_MAX = 8;

/** Each delta was tried: it gives the blob back to the bit. A blob without a good one is left out of the answer. */
export async function makeDeltas(request: DeltaRequest): Promise<readonly MadeDelta[]> {
  const older = new Map<string, readonly Descriptor[]>();
  const made: MadeDelta[] = [];
  for (const blob of request.blobs) {
    const { mediaType, size, repository } = blob;
    if (layerCompression(mediaType) === undefined) continue;
    if (size < BLOB_BYTES_MIN || size > DELTA_BLOB_BYTES_MAX) continue;
    const layers = older.get(repository) ?? (await request.known.layersOf(repository));
    older.set(repository, layers);
    const candidates = chooseSources(blob, layers);
    const delta = await makeDelta(request, blob, candidates);
    if (delta !== undefined) made.push(delta);
  }
  return made;
}

/** The old layers whose size is most like that of the new one. */
function chooseSources(blob: Descriptor, older: readonly Descriptor[]): readonly Descriptor[] {
  const unlikeness = ({ size }: Descriptor): number =>
    Math.abs(Math.log((size + 1) / (blob.size + 1)));
  return older
    .filter(({ mediaType }) => layerCompression(mediaType) === layerCompression(blob.mediaType))
    .filter(
      (layer) => unlikeness(layer) <= Math.log(RATIO_MAX) && layer.size <= DELTA_BLOB_BYTES_MAX,
    )
    .toSorted((left, right) => unlikeness(left) - unlikeness(right))
    .slice(0, SOURCES_MAX);
}

async function makeDelta(
  { store, known, scratch, signal }: DeltaRequest,
  blob: LayerBlob,
  candidates: readonly Descriptor[],
): Promise<MadeDelta | undefined> {
  const { digest, size, repository } = blob;
  const sources: { readonly digest: Digest; readonly size: number }[] = [];
  const old: Buffer[] = [];
  for (const candidate of candidates) {
    const bytes = await known.read(repository, candidate);
    if (bytes === undefined) continue;
    old.push(bytes);
    sources.push({ digest: candidate.digest, size: candidate.size });
  }
  if (old.length === 0) return undefined;
  const path = blobUrl(repository, digest);
  const target = await gather(download(store, { path, digest, size }, signal), size);
  const patch = createDelta(old, target);
  if (patch === undefined || !isExact(old, patch, blob)) return undefined;
  // All of this held the connections up; those that the store has closed meanwhile shall be known as closed.
  await turn();
  const name = { digest: sha256Of(patch), size: patch.length };
  const file = join(scratch, digestHex(name.digest));
  await writeFile(file, patch);
  return {
    delta: { digest, size, patch: name, sources },
    file: { path: blobFile(name.digest), size: patch.length, open: () => createReadStream(file) },
  };
}

function isExact(old: readonly Buffer[], patch: Buffer, { digest, size }: Descriptor): boolean {
  const hash = createHash(digestAlgorithm(digest)).update(applyDelta(old, patch, size));
  return hash.digest("hex") === digestHex(digest);
}
