/** One layer, from its blob to files in the working directory. */
import { createHash } from "node:crypto";

import { type Digest, type DigestAlgorithm, parseDigest } from "@strata/protocol/oci/digest";

import { decompress } from "./decompress.ts";
import type { LayerLimits } from "./limits.ts";
import { TarReader } from "./tar-reader.ts";
import type { DirectoryNode } from "./tree.ts";
import { type LayerReport, Unpacker, type WhiteoutPolicy } from "./unpacker.ts";

export type UnpackOptions = {
  /** Everything that is in the working directory. `finishTree` must follow, once all layers are in. */
  readonly root: DirectoryNode;
  readonly policy: WhiteoutPolicy;
  readonly layer: number;
  readonly limits: LayerLimits;
  readonly algorithm: DigestAlgorithm;
};

export type UnpackedLayer = LayerReport & {
  /** Digest of the archive's bytes, all of them. */
  readonly diffId: Digest;
  readonly archiveBytes: number;
};

/** Unpacks `blob` into the working directory while it arrives. The caller compares the digests before it uses
 * anything, and deletes the folder after an error.
 * @throws LayerError */
export function unpackLayer(
  blob: AsyncIterable<Buffer>,
  options: UnpackOptions,
): Promise<UnpackedLayer> {
  return unpackArchive(decompress(blob, options.limits), options);
}

/** The same for an archive that is decompressed already.
 * @throws LayerError */
export async function unpackArchive(
  archive: AsyncIterable<Buffer>,
  options: UnpackOptions,
): Promise<UnpackedLayer> {
  const { limits, algorithm } = options;
  const unpacker = new Unpacker(options);
  const reader = new TarReader(unpacker, limits);
  const hash = createHash(algorithm);
  let archiveBytes = 0;
  try {
    for await (const chunk of archive) {
      hash.update(chunk);
      archiveBytes += chunk.length;
      reader.write(chunk);
    }
    reader.end();
  } finally {
    unpacker.close();
  }
  return {
    ...unpacker.report(),
    diffId: parseDigest(`${algorithm}:${hash.digest("hex")}`),
    archiveBytes,
  };
}
