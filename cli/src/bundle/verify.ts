/** Holds all that a bundle has against its digests, and finds out what has to be pushed where. Nothing of a bundle is
 * believed before this is through. */
import { createHash } from "node:crypto";

import { type Digest, digestAlgorithm, digestHex } from "@strata/protocol/oci/digest";
import { type Descriptor, MANIFEST_SIZE_BYTES_MAX } from "@strata/protocol/oci/image";

import { chunksOf } from "../chunks.ts";
import type { ArchiveFile } from "./archive.ts";
import type { Entry } from "./collect.ts";
import type { Delta } from "./contents.ts";
import { blobFile } from "./contents.ts";
import { invalidBundle } from "./invalid.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import type { Bundle } from "./read.ts";

/** Where the bytes of a blob come from. */
export type Origin =
  | { readonly kind: "archive"; readonly file: ArchiveFile }
  | { readonly kind: "delta"; readonly delta: Delta }
  /** The receiver has it. */
  | { readonly kind: "required" };

export type NeededBlob = Pick<Descriptor, "digest" | "size"> & { readonly origin: Origin };

/** What one repository gets. */
export type RepositoryPlan = {
  readonly repository: string;
  readonly blobs: ReadonlyMap<Digest, NeededBlob>;
  /** Children before those that are made of them. */
  readonly manifests: ReadonlyMap<Digest, Manifest>;
  /** Signatures before what they sign. */
  readonly tags: readonly (Entry & { readonly tag: string })[];
};

const NESTING_MAX = 8;
const MANIFEST_BYTES_MAX = 256 * 1024 * 1024;

/** @throws CliError LAYOUT_INVALID for the first thing that is not as it should be */
export async function verifyBundle(
  bundle: Bundle,
  onChecked: (bytes: number) => void,
): Promise<readonly RepositoryPlan[]> {
  await verifyBlobs(bundle, onChecked);
  await verifyFiles(bundle);
  const repositories = new Map<string, Work>();
  const budget = { bytes: MANIFEST_BYTES_MAX };
  const origins = findOrigins(bundle);
  for (const { repository, descriptor } of bundle.entries) {
    const work = repositories.get(repository) ?? { bundle, origins, budget, ...emptyPlan() };
    repositories.set(repository, work);
    await addManifest(work, descriptor, 0);
  }
  return [...repositories].map(([repository, { blobs, manifests }]) => ({
    repository,
    blobs,
    manifests,
    tags: tagsOf(bundle.entries, repository),
  }));
}

async function verifyBlobs(bundle: Bundle, onChecked: (bytes: number) => void): Promise<void> {
  let done = 0;
  for (const [digest, file] of bundle.blobs) {
    const hash = createHash(digestAlgorithm(digest));
    for await (const chunk of chunksOf(bundle.archive.stream(file))) {
      hash.update(chunk);
      done += chunk.length;
      onChecked(done);
    }
    const actual = hash.digest("hex");
    if (actual !== digestHex(digest)) {
      throw invalidBundle(bundle.path, `blob ${digest} is damaged: its bytes hash to ${actual}`);
    }
  }
}

async function verifyFiles({ path, archive, contents }: Bundle): Promise<void> {
  const listed = new Set(contents.files.map((file) => file.path));
  for (const name of archive.files.keys()) {
    if (name.startsWith("strata/") && !listed.has(name)) {
      throw invalidBundle(path, `${JSON.stringify(name.slice(0, 200))} is not listed in it`);
    }
  }
  for (const { path: name, digest, size } of contents.files) {
    const file = archive.files.get(name);
    if (file?.size !== size) throw invalidBundle(path, `${name} is missing or cut`);
    const hash = createHash(digestAlgorithm(digest));
    for await (const chunk of chunksOf(archive.stream(file))) hash.update(chunk);
    if (hash.digest("hex") !== digestHex(digest)) throw invalidBundle(path, `${name} is damaged`);
  }
}

type Origins = ReadonlyMap<Digest, { readonly size: number; readonly origin: Origin }>;

/** Each blob by the one way in which it comes. */
function findOrigins({ path, blobs, contents }: Bundle): Origins {
  const found = new Map<Digest, { readonly size: number; readonly origin: Origin }>();
  for (const [digest, file] of blobs) {
    found.set(digest, { size: file.size, origin: { kind: "archive", file } });
  }
  for (const { digest, size } of contents.required) {
    if (found.has(digest)) throw invalidBundle(path, `blob ${digest} is both there and left out`);
    found.set(digest, { size, origin: { kind: "required" } });
  }
  for (const delta of contents.deltas) {
    const { digest, size, patch } = delta;
    if (found.has(digest)) throw invalidBundle(path, `blob ${digest} comes in two ways`);
    if (blobs.get(patch.digest)?.size !== patch.size) {
      throw invalidBundle(path, `the patch ${patch.digest} is missing or cut`);
    }
    found.set(digest, { size, origin: { kind: "delta", delta } });
  }
  return found;
}

type Work = {
  readonly bundle: Bundle;
  readonly origins: Origins;
  readonly budget: { bytes: number };
  readonly blobs: Map<Digest, NeededBlob>;
  readonly manifests: Map<Digest, Manifest>;
};

function emptyPlan(): Pick<Work, "blobs" | "manifests"> {
  return { blobs: new Map(), manifests: new Map() };
}

async function addManifest(work: Work, descriptor: Descriptor, depth: number): Promise<void> {
  const { bundle, manifests } = work;
  if (manifests.has(descriptor.digest)) return;
  if (depth > NESTING_MAX) {
    throw invalidBundle(bundle.path, `indexes are nested over ${NESTING_MAX} deep`);
  }
  const bytes = await readManifest(work, descriptor);
  const manifest = parseManifest(descriptor, bytes);
  for (const child of manifest.children) await addManifest(work, child, depth + 1);
  for (const blob of manifest.blobs) addBlob(work, blob);
  manifests.set(descriptor.digest, manifest);
}

async function readManifest(work: Work, { digest, size }: Descriptor): Promise<Buffer> {
  const { bundle, budget } = work;
  const bytes = await bundle.archive.read(blobFile(digest), MANIFEST_SIZE_BYTES_MAX);
  if (bytes === undefined) throw invalidBundle(bundle.path, `manifest ${digest} is missing`);
  if (bytes.length !== size) {
    throw invalidBundle(bundle.path, `manifest ${digest} has ${bytes.length} bytes, not ${size}`);
  }
  budget.bytes -= bytes.length;
  if (budget.bytes < 0) throw invalidBundle(bundle.path, "its manifests are over 256 MiB");
  return bytes;
}

function addBlob({ bundle, origins, blobs }: Work, { digest, size }: Descriptor): void {
  const found = origins.get(digest);
  if (found === undefined) throw invalidBundle(bundle.path, `blob ${digest} is missing`);
  if (found.size !== size) {
    throw invalidBundle(bundle.path, `blob ${digest} has ${found.size} bytes, not ${size}`);
  }
  blobs.set(digest, { digest, size, origin: found.origin });
}

/** cosign's tags, and those of the referrers tag schema of distribution-spec v1.1. */
export function isSignatureTag(tag: string): boolean {
  return /^sha(?:256|512)-[a-f0-9]+(?:\.[a-z]+)?$/.test(tag);
}

function tagsOf(entries: readonly Entry[], repository: string): RepositoryPlan["tags"] {
  const own = entries.flatMap((entry) =>
    entry.repository === repository && entry.tag !== undefined
      ? [{ ...entry, tag: entry.tag }]
      : [],
  );
  return own.toSorted(
    (left, right) => Number(isSignatureTag(right.tag)) - Number(isSignatureTag(left.tag)),
  );
}
