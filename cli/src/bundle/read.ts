/** Opens a bundle, or any other OCI image layout in one tar file, and reads what it says of itself. */
import { type Digest, isDigest } from "@strata/protocol/oci/digest";
import { type Descriptor, ImageIndex, MANIFEST_SIZE_BYTES_MAX } from "@strata/protocol/oci/image";
import { isRepository, isTag } from "@strata/protocol/oci/reference";
import { parseStrictJson } from "@strata/protocol/oci/strict-json";
import { z } from "zod";

import { CliError } from "../errors.ts";
import { type Archive, type ArchiveFile, openBundleArchive } from "./archive.ts";
import type { Entry } from "./collect.ts";
import {
  blobFile,
  BundleContents,
  CONTENTS_FILE,
  INDEX_FILE,
  MARKER_FILE,
  nameAnnotation,
  repositoryAnnotation,
  sha256Of,
} from "./contents.ts";
import { invalidBundle } from "./invalid.ts";

export type Bundle = AsyncDisposable & {
  readonly path: string;
  /** Names all that the bundle holds. */
  readonly id: Digest;
  readonly archive: Archive;
  readonly entries: readonly Entry[];
  readonly contents: BundleContents;
  readonly blobs: ReadonlyMap<Digest, ArchiveFile>;
};

const MARKER_BYTES_MAX = 4096;
const CONTENTS_BYTES_MAX = 64 * 1024 * 1024;

const Marker = z.looseObject({ imageLayoutVersion: z.literal("1.0.0") });

/** Reads names and sizes; no blob is hashed yet.
 * @throws CliError LAYOUT_INVALID, USAGE */
export async function openBundle(path: string): Promise<Bundle> {
  const archive = await openBundleArchive(path);
  try {
    await requireMarker(archive, path);
    const index = await requireFile(archive, { path, name: INDEX_FILE });
    const text = await archive.read(CONTENTS_FILE, CONTENTS_BYTES_MAX);
    const contents = text === undefined ? plainContents(index) : parseContents(text, path);
    if (contents.index !== sha256Of(index)) {
      throw invalidBundle(path, `${INDEX_FILE} is not the one that it was made with`);
    }
    return {
      path,
      id: sha256Of(text ?? index),
      archive,
      entries: parseEntries(index, path),
      contents,
      blobs: findBlobs(archive, path),
      [Symbol.asyncDispose]: () => archive[Symbol.asyncDispose](),
    };
  } catch (error) {
    await archive[Symbol.asyncDispose]();
    throw error;
  }
}

async function requireMarker(archive: Archive, path: string): Promise<void> {
  const bytes = await archive.read(MARKER_FILE, MARKER_BYTES_MAX);
  if (bytes !== undefined && Marker.safeParse(parse(bytes, path)).success) return;
  throw invalidBundle(path, `it has no ${MARKER_FILE} of version 1.0.0`);
}

async function requireFile(
  archive: Archive,
  { path, name }: { readonly path: string; readonly name: string },
): Promise<Buffer> {
  const bytes = await archive.read(name, MANIFEST_SIZE_BYTES_MAX * 16);
  if (bytes !== undefined) return bytes;
  throw invalidBundle(path, `it has no ${name}`);
}

/** Another program's layout: complete, and nothing but images. */
function plainContents(index: Buffer): BundleContents {
  return { bundleVersion: 1, index: sha256Of(index), required: [], deltas: [], files: [] };
}

function parseContents(bytes: Buffer, path: string): BundleContents {
  const parsed = BundleContents.safeParse(parse(bytes, path));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue === undefined ? "" : `: ${issue.path.join(".")}: ${issue.message}`;
  throw invalidBundle(path, `${CONTENTS_FILE} cannot be read${where}`, parsed.error);
}

function parse(bytes: Buffer, path: string): unknown {
  try {
    return parseStrictJson(bytes);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "unknown";
    throw invalidBundle(path, `a file of JSON cannot be read: ${why}`, cause);
  }
}

/** A bundle may name more manifests than an index of the specification may. */
const Index = ImageIndex.extend({
  manifests: z.array(ImageIndex.shape.manifests.element).max(65_536),
});

function parseEntries(bytes: Buffer, path: string): readonly Entry[] {
  const parsed = Index.safeParse(parse(bytes, path));
  if (!parsed.success) throw invalidBundle(path, `${INDEX_FILE} is no image index`, parsed.error);
  const entries = parsed.data.manifests.map((descriptor) => parseEntry(descriptor, path));
  const byName = new Map<string, Digest>();
  for (const { repository, tag, descriptor } of entries) {
    if (tag === undefined) continue;
    const name = `${repository}:${tag}`;
    const other = byName.get(name);
    if (other !== undefined && other !== descriptor.digest) {
      throw invalidBundle(path, `${name} names two images`);
    }
    byName.set(name, descriptor.digest);
  }
  return entries;
}

/** `repository:tag` in one annotation, or the repository in ours and the tag in the other. */
function parseEntry({ annotations = {}, ...rest }: Descriptor, path: string): Entry {
  const { [nameAnnotation]: name, [repositoryAnnotation]: own } = annotations;
  // What the layout says of the image is no part of the image.
  const { mediaType, digest, size } = rest;
  const descriptor = { mediaType, digest, size };
  const colon = name?.lastIndexOf(":") ?? -1;
  const repository = own ?? name?.slice(0, Math.max(colon, 0)) ?? "";
  const tag = own === undefined ? name?.slice(colon + 1) : name;
  if (isRepository(repository) && (tag === undefined || isTag(tag))) {
    return { repository, tag, descriptor };
  }
  const called = JSON.stringify((name ?? own ?? "").slice(0, 300));
  throw new CliError("LAYOUT_INVALID", `${path}: the image ${digest} is called ${called}`, {
    hint: `an image in an archive is called repository:tag in ${nameAnnotation}, as skopeo copy … oci-archive:FILE:repository:tag writes it`,
  });
}

function findBlobs(archive: Archive, path: string): ReadonlyMap<Digest, ArchiveFile> {
  const found = new Map<Digest, ArchiveFile>();
  for (const [name, file] of archive.files) {
    if (!name.startsWith("blobs/")) continue;
    const digest = name.slice("blobs/".length).replace("/", ":");
    if (!isDigest(digest) || blobFile(digest) !== name) {
      throw invalidBundle(path, `${JSON.stringify(name.slice(0, 200))} is no name for a blob`);
    }
    found.set(digest, file);
  }
  return found;
}
