/** What goes into a bundle, what is left out, and the two files that say so. Pure. */
import type { Descriptor } from "@strata/protocol/oci/image";
import { mediaTypes } from "@strata/protocol/oci/media-type";

import type { Collection, Entry } from "./collect.ts";
import {
  type BlobName,
  type BundleContents,
  type Delta,
  nameAnnotation,
  repositoryAnnotation,
  sha256Of,
} from "./contents.ts";
import type { Known } from "./known.ts";

export type BundlePlan = {
  readonly index: Buffer;
  readonly contents: Buffer;
  /** Blobs to be written whole, in the order of the archive. */
  readonly blobs: readonly (Descriptor & { readonly repository: string })[];
  readonly required: readonly BlobName[];
};

export type PlanRequest = {
  readonly collection: Collection;
  readonly known: Pick<Known, "id" | "has"> | undefined;
  readonly deltas: readonly Delta[];
  readonly files: readonly (BlobName & { readonly path: string })[];
};

/** The same images, base and files give the same bytes. */
export function planBundle({ collection, known, deltas, files }: PlanRequest): BundlePlan {
  const index = encodeIndex(collection.entries);
  const delivered = new Set(deltas.map(({ digest }) => digest));
  const all = [...collection.blobs.values()]
    .filter(({ digest }) => !collection.manifests.has(digest))
    .toSorted(byDigest);
  const isKnown = ({ digest }: Descriptor): boolean => known?.has(digest) === true;
  const required = all.filter(isKnown).map(({ digest, size }) => ({ digest, size }));
  const contents: BundleContents = {
    bundleVersion: 1,
    index: sha256Of(index),
    ...(known?.id === undefined ? {} : { base: known.id }),
    required,
    deltas: deltas.toSorted(byDigest),
    files: files.map(({ path, digest, size }) => ({ digest, size, path })),
  };
  return {
    index,
    contents: Buffer.from(JSON.stringify(contents)),
    blobs: all.filter((blob) => !isKnown(blob) && !delivered.has(blob.digest)),
    required,
  };
}

function encodeIndex(entries: readonly Entry[]): Buffer {
  const manifests = entries.toSorted(byName).map(({ repository, tag, descriptor }) => ({
    ...descriptor,
    annotations:
      tag === undefined
        ? { [repositoryAnnotation]: repository }
        : { [nameAnnotation]: `${repository}:${tag}` },
  }));
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests };
  return Buffer.from(JSON.stringify(index));
}

function byDigest(left: BlobName, right: BlobName): number {
  return compare(left.digest, right.digest);
}

function byName(left: Entry, right: Entry): number {
  return (
    compare(left.repository, right.repository) ||
    compare(left.tag ?? "", right.tag ?? "") ||
    compare(left.descriptor.digest, right.descriptor.digest)
  );
}

function compare(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
