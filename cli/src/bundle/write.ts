/** Writes a bundle: one tar file, and an OCI image layout within it. */
import { createWriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import type { Digest } from "@strata/protocol/oci/digest";

import type { Entry } from "../cartridge/entry.ts";
import { packEntries } from "../cartridge/layer.ts";
import { blobFile, CONTENTS_FILE, INDEX_FILE, MARKER, MARKER_FILE } from "./contents.ts";

/** One file of the bundle; opened when its turn comes. */
export type BundleFile = {
  readonly path: string;
  readonly size: number;
  readonly open: () => Readable;
};

export type BundleBytes = {
  readonly index: Buffer;
  readonly contents: Buffer;
  readonly manifests: ReadonlyMap<Digest, { readonly bytes: Buffer }>;
  /** Blobs, patches and other files. */
  readonly files: readonly BundleFile[];
};

/** The file appears whole and synced, or not at all. */
export async function writeBundle(file: string, bytes: BundleBytes): Promise<void> {
  const partial = `${file}.partial`;
  try {
    await pipeline(packEntries(entriesOf(bytes), 0), createWriteStream(partial, { flush: true }));
    await rename(partial, file);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

/** What a reader needs first stands first. */
function* entriesOf({ index, contents, manifests, files }: BundleBytes): Generator<Entry> {
  yield fileOf({ path: MARKER_FILE, bytes: Buffer.from(MARKER) });
  yield fileOf({ path: INDEX_FILE, bytes: index });
  yield fileOf({ path: CONTENTS_FILE, bytes: contents });
  const inBlobs = [...manifests]
    .map(([digest, { bytes }]) => ({ path: blobFile(digest), bytes }))
    .toSorted((left, right) => (left.path < right.path ? -1 : 1));
  const paths = [...inBlobs, ...files].map(({ path }) => path);
  yield* foldersOf(["blobs/sha256/", ...paths]);
  for (const manifest of inBlobs) yield fileOf(manifest);
  for (const file of files) yield { ...file, ...owner, mode: 0o644, type: "file" };
}

const owner = { uid: 0, gid: 0 } as const;

function* foldersOf(paths: readonly string[]): Generator<Entry> {
  const folders = paths.flatMap((path) => {
    const parts = path.split("/").slice(0, -1);
    return parts.map((_part, index) => parts.slice(0, index + 1).join("/"));
  });
  for (const path of new Set(folders)) yield { path, ...owner, mode: 0o755, type: "directory" };
}

function fileOf({ path, bytes }: { readonly path: string; readonly bytes: Buffer }): Entry {
  const open = (): Readable => Readable.from([bytes], { objectMode: false });
  return { path, ...owner, mode: 0o644, type: "file", size: bytes.length, open };
}
