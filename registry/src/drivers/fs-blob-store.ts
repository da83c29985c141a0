import { type FileHandle, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

import { getErrorCode } from "@strata/protocol/errors";
import { type Digest, digestAlgorithm, digestHex, isDigest } from "@strata/protocol/oci/digest";

import type { BlobStore, OpenUpload } from "../blob-store.ts";
import { createOpenFiles, readFully } from "./open-files.ts";

/** Blobs as files, all on one file system:
 *   blobs/sha256/ab/abcd…   uploads/<id>   quarantine/sha256-abcd…
 * A blob comes to its name by fsync, rename, fsync of the folder; so a name always has all its bytes. */
export async function createFsBlobStore(root: string): Promise<BlobStore> {
  const folders = createFolders();
  const files = createOpenFiles();
  for (const name of ["blobs", "uploads", "quarantine"]) await folders.make(join(root, name));
  const blobPath = (digest: Digest): string => {
    const hex = digestHex(digest);
    return join(root, "blobs", digestAlgorithm(digest), hex.slice(0, 2), hex);
  };
  const uploadPath = (id: string): string => join(root, "uploads", parseUploadId(id));

  return {
    open: (digest) => files.open(blobPath(digest)),
    createUpload: async (id) => {
      const file = await open(uploadPath(id), "wx", 0o600);
      await file.close();
    },
    openUpload: async (id) => {
      const file = await openIfThere(uploadPath(id));
      return file === undefined ? undefined : openUpload(file);
    },
    commitUpload: async (id, digest) => {
      const from = uploadPath(id);
      if (!(await syncIfThere(from))) return false;
      const to = blobPath(digest);
      await folders.make(dirname(to));
      await rename(from, to);
      files.forget(to);
      await syncFolder(dirname(to));
      return true;
    },
    deleteUpload: (id) => rm(uploadPath(id), { force: true }),
    delete: async (digest) => {
      const path = blobPath(digest);
      await rm(path, { force: true });
      files.forget(path);
    },
    quarantine: async (digest) => {
      const path = blobPath(digest);
      const name = `${digestAlgorithm(digest)}-${digestHex(digest)}`;
      await rename(path, join(root, "quarantine", name)).catch(ignoreAbsence);
      files.forget(path);
    },
    listBlobs: () => listBlobs(join(root, "blobs")),
    listUploads: () => readdir(join(root, "uploads")),
    close: () => files.close(),
  };
}

function parseUploadId(id: string): string {
  if (/^[A-Za-z0-9-]{1,64}$/.test(id)) return id;
  throw new TypeError("an upload id is made of letters, digits and hyphens");
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  return open(path, "r+").catch(ignoreAbsence);
}

function ignoreAbsence(error: unknown): undefined {
  if (getErrorCode(error) === "ENOENT") return undefined;
  throw error;
}

async function openUpload(file: FileHandle): Promise<OpenUpload> {
  let sizeBytes = await sizeOf(file);
  return {
    get sizeBytes() {
      return sizeBytes;
    },
    read: (target, position) => readFully(file.fd, target, position),
    append: async (chunks) => {
      let rest = chunks;
      while (rest.length > 0) {
        const { bytesWritten } = await file.writev(rest, sizeBytes);
        sizeBytes += bytesWritten;
        rest = dropBytes(rest, bytesWritten);
      }
    },
    truncate: async (length) => {
      await file.truncate(length);
      sizeBytes = length;
    },
    [Symbol.asyncDispose]: () => file.close(),
  };
}

async function sizeOf(file: FileHandle): Promise<number> {
  try {
    return (await file.stat()).size;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** What a short `writev` left over. */
function dropBytes(chunks: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let skip = count;
  let index = 0;
  for (const chunk of chunks) {
    if (skip < chunk.length) break;
    skip -= chunk.length;
    index += 1;
  }
  const [first, ...others] = chunks.slice(index);
  return first === undefined ? [] : [first.subarray(skip), ...others];
}

async function syncIfThere(path: string): Promise<boolean> {
  const file = await openIfThere(path);
  if (file === undefined) return false;
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  return true;
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Makes folders that are safe against power loss themselves, and remembers which it has made. */
function createFolders(): { readonly make: (path: string) => Promise<void> } {
  const made = new Set<string>();
  const make = async (path: string): Promise<void> => {
    if (made.has(path)) return;
    const first = await mkdir(path, { recursive: true, mode: 0o700 });
    // Each new folder is an entry of its parent; sync from the deepest parent up to that of the first new one.
    if (first !== undefined) {
      for (let folder = dirname(path); ; folder = dirname(folder)) {
        await syncFolder(folder);
        if (folder === dirname(first)) break;
      }
    }
    made.add(path);
  };
  return { make };
}

async function* listBlobs(root: string): AsyncGenerator<Digest> {
  for (const algorithm of await readdir(root)) {
    for (const prefix of await readdir(join(root, algorithm))) {
      for (const hex of await readdir(join(root, algorithm, prefix))) {
        const digest = `${algorithm}:${hex}`;
        if (isDigest(digest)) yield digest;
      }
    }
  }
}
