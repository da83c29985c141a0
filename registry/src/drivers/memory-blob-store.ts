import type { Digest } from "@strata/protocol/oci/digest";

import type { BlobStore, OpenBlob } from "../blob-store.ts";

/** Blobs in memory: for tests and for throw-away registries. Nothing survives the process. */
export function createMemoryBlobStore(): BlobStore {
  const blobs = new Map<Digest, Buffer>();
  const uploads = new Map<string, Buffer[]>();

  return {
    open: async (digest) => {
      const bytes = blobs.get(digest);
      return bytes === undefined ? undefined : openBytes(() => bytes);
    },
    createUpload: async (id) => {
      if (uploads.has(id)) {
        throw Object.assign(new Error(`upload ${id} exists`), { code: "EEXIST" });
      }
      uploads.set(id, []);
    },
    openUpload: async (id) => {
      const chunks = uploads.get(id);
      if (chunks === undefined) return undefined;
      const bytes = (): Buffer => joinInPlace(chunks);
      const upload = openBytes(bytes);
      return {
        get sizeBytes() {
          return upload.sizeBytes;
        },
        read: upload.read,
        append: async (added) => {
          // Copied: the caller may use its buffers again.
          for (const chunk of added) chunks.push(Buffer.from(chunk));
        },
        truncate: async (sizeBytes) => {
          chunks.splice(0, chunks.length, bytes().subarray(0, sizeBytes));
        },
        [Symbol.asyncDispose]: upload[Symbol.asyncDispose],
      };
    },
    commitUpload: async (id, digest) => {
      const chunks = uploads.get(id);
      if (chunks === undefined) return false;
      blobs.set(digest, joinInPlace(chunks));
      uploads.delete(id);
      return true;
    },
    deleteUpload: async (id) => {
      uploads.delete(id);
    },
    delete: async (digest) => {
      blobs.delete(digest);
    },
    quarantine: async (digest) => {
      blobs.delete(digest);
    },
    listBlobs: async function* () {
      yield* blobs.keys();
    },
    listUploads: async () => [...uploads.keys()],
  };
}

function openBytes(bytes: () => Buffer): OpenBlob {
  return {
    get sizeBytes() {
      return bytes().length;
    },
    read: async (target, position) => {
      const source = bytes().subarray(position, position + target.length);
      target.set(source);
      return source.length;
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function joinInPlace(chunks: Buffer[]): Buffer {
  const joined = Buffer.concat(chunks);
  chunks.splice(0, chunks.length, joined);
  return joined;
}
