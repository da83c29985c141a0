/** Reads an OCI image layout on disk (image-spec v1.1, "OCI Image Layout Specification"). Nothing in it is trusted:
 * blobs are found by digest alone, and checked against it. */
import { createHash } from "node:crypto";
import { createReadStream, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

import { getErrorCode } from "@strata/protocol/errors";
import { type Digest, digestAlgorithm, digestHex, parseDigest } from "@strata/protocol/oci/digest";
import {
  CONFIG_SIZE_BYTES_MAX,
  type Descriptor,
  ImageIndex,
  MANIFEST_SIZE_BYTES_MAX,
} from "@strata/protocol/oci/image";

import { requireDigest } from "./content.ts";
import { PullError } from "./errors.ts";
import {
  type Architecture,
  type ImageLayer,
  pairLayers,
  parseConfig,
  parseManifest,
  requireImage,
  selectManifest,
} from "./manifest.ts";

const TAG = "org.opencontainers.image.ref.name";

/** Layers of the tagged image, lowest first; without a tag the layout must hold one image.
 * @throws PullError */
export function readLayout(options: {
  readonly directory: string;
  readonly tag: string | undefined;
  readonly architecture: Architecture;
}): readonly ImageLayer[] {
  const { directory, tag, architecture } = options;
  const entry = selectEntry(readIndex(directory), directory, tag);
  const document = parseManifest(readBlob(directory, entry, MANIFEST_SIZE_BYTES_MAX), entry.digest);
  if (document.kind === "index") {
    return readImage(
      directory,
      selectManifest(document.index, architecture, entry.digest),
      architecture,
    );
  }
  return readImage(directory, entry, architecture);
}

function readImage(
  directory: string,
  descriptor: Descriptor,
  architecture: Architecture,
): readonly ImageLayer[] {
  const { digest } = descriptor;
  const document = parseManifest(readBlob(directory, descriptor, MANIFEST_SIZE_BYTES_MAX), digest);
  if (document.kind !== "manifest")
    throw new PullError("IMAGE_INVALID", `${digest}: an index inside an index`);
  requireImage(document.manifest, digest);
  const config = readBlob(directory, document.manifest.config, CONFIG_SIZE_BYTES_MAX);
  return pairLayers(document.manifest, parseConfig(config, architecture, digest), digest);
}

function readIndex(directory: string): ImageIndex {
  try {
    return ImageIndex.parse(JSON.parse(readFileSync(join(directory, "index.json"), "utf8")));
  } catch (cause) {
    throw new PullError("IMAGE_NOT_FOUND", `${directory} is not an OCI image layout`, {
      cause,
      hint: "name a folder with an index.json, such as `skopeo copy … oci:DIR:TAG` writes",
    });
  }
}

function selectEntry(index: ImageIndex, directory: string, tag: string | undefined): Descriptor {
  const entries =
    tag === undefined
      ? index.manifests
      : index.manifests.filter((entry) => entry.annotations?.[TAG] === tag);
  const [entry] = entries;
  if (entry !== undefined && entries.length === 1) return entry;
  const tags = index.manifests
    .map((candidate) => candidate.annotations?.[TAG] ?? candidate.digest)
    .slice(0, 20);
  throw new PullError(
    "IMAGE_NOT_FOUND",
    `${directory} has ${entries.length} images for ${tag ?? "no tag"}`,
    {
      hint: `it holds ${tags.join(", ")}: name one as OCI-LAYOUT:TAG`,
    },
  );
}

function blobPath(directory: string, digest: Digest): string {
  return join(directory, "blobs", digestAlgorithm(digest), digestHex(digest));
}

function readBlob(directory: string, { digest, size }: Descriptor, sizeMax: number): Buffer {
  const path = blobPath(directory, digest);
  try {
    const stat = statSync(path);
    if (!stat.isFile() || stat.size !== size || size > sizeMax) {
      throw new PullError(
        "IMAGE_INVALID",
        `${digest} has ${stat.size} bytes instead of ${size}, or over ${sizeMax}`,
      );
    }
    const bytes = readFileSync(path);
    requireDigest(bytes, digest);
    return bytes;
  } catch (error) {
    if (getErrorCode(error) !== "ENOENT") throw error;
    throw new PullError("IMAGE_INVALID", `the layout has no ${digest}`, { cause: error });
  }
}

/** The layer's bytes; fails at the end when they are not what the descriptor says.
 * @throws PullError LAYER_NOT_FOUND or LAYER_DIGEST_MISMATCH */
export async function* streamLayer(
  directory: string,
  { digest, size }: Descriptor,
): AsyncGenerator<Buffer, void> {
  const hash = createHash(digestAlgorithm(digest));
  const file: AsyncIterable<Buffer> = createReadStream(blobPath(directory, digest), {
    highWaterMark: 256 * 1024,
  });
  let received = 0;
  try {
    for await (const chunk of file) {
      hash.update(chunk);
      received += chunk.length;
      if (received > size) break;
      yield chunk;
    }
  } catch (cause) {
    if (getErrorCode(cause) !== "ENOENT") throw cause;
    throw new PullError("LAYER_NOT_FOUND", `the layout has no ${digest}`, { cause });
  }
  const actual = parseDigest(`${digestAlgorithm(digest)}:${hash.digest("hex")}`);
  if (received === size && actual === digest) return;
  throw new PullError(
    "LAYER_DIGEST_MISMATCH",
    `the layer ${digest} holds other bytes than its name says`,
  );
}
