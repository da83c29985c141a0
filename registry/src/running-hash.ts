import { createHash, type Hash } from "node:crypto";

import { type Digest, type DigestAlgorithm, parseDigest } from "@strata/protocol/oci/digest";

import type { OpenBlob } from "./blob-store.ts";
import type { BufferPool } from "./buffer-pool.ts";

/** A digest under way, and how many bytes went into it. */
export type RunningHash = {
  readonly algorithm: DigestAlgorithm;
  readonly hashedBytes: () => number;
  readonly update: (chunk: Uint8Array) => void;
  /** Ends it. */
  readonly digest: () => Digest;
};

export function createRunningHash(algorithm: DigestAlgorithm): RunningHash {
  const hash: Hash = createHash(algorithm);
  let hashed = 0;
  return {
    algorithm,
    hashedBytes: () => hashed,
    update: (chunk) => {
      hash.update(chunk);
      hashed += chunk.length;
    },
    digest: () => parseDigest(`${algorithm}:${hash.digest("hex")}`),
  };
}

/** Hashes all that is stored; reads through one buffer of the pool. */
export async function hashStored(
  blob: OpenBlob,
  algorithm: DigestAlgorithm,
  buffers: BufferPool,
): Promise<RunningHash> {
  const hash = createRunningHash(algorithm);
  const buffer = buffers.take();
  try {
    while (hash.hashedBytes() < blob.sizeBytes) {
      const count = await blob.read(buffer, hash.hashedBytes());
      if (count === 0) break;
      hash.update(buffer.subarray(0, count));
    }
    return hash;
  } finally {
    buffers.give(buffer);
  }
}
