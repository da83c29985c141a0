/** Reads manifests, indexes and configs. Pure: bytes in, checked data out. */
import type { Digest } from "@strata/protocol/oci/digest";
import {
  type Descriptor,
  ImageConfig,
  ImageIndex,
  ImageManifest,
} from "@strata/protocol/oci/image";
import { isIndex, layerCompression, mediaTypes } from "@strata/protocol/oci/media-type";
import type { z } from "zod";

import { PullError } from "./errors.ts";

export type Architecture = "amd64" | "arm64";

export type ManifestDocument =
  | { readonly kind: "manifest"; readonly manifest: ImageManifest }
  | { readonly kind: "index"; readonly index: ImageIndex };

/** `contentType` is what the registry said of it, if it was asked just now.
 * @throws PullError IMAGE_INVALID, also for a document that two readers could take for two things */
export function parseManifest(
  bytes: Buffer,
  digest: Digest,
  contentType?: string,
): ManifestDocument {
  const json = parseObject(bytes, digest);
  const index = "manifests" in json;
  if (index === ("layers" in json || "config" in json)) {
    throw invalid(digest, "it is neither an image manifest nor an index, or both");
  }
  for (const type of [json["mediaType"], contentType]) {
    if (typeof type !== "string" || type === "") continue;
    if (isIndex(type) !== index)
      throw invalid(digest, `its media type ${JSON.stringify(type)} says something else`);
  }
  return index
    ? { kind: "index", index: check(ImageIndex, json, digest) }
    : { kind: "manifest", manifest: check(ImageManifest, json, digest) };
}

/** The image for this machine.
 * @throws PullError IMAGE_UNSUPPORTED */
export function selectManifest(
  index: ImageIndex,
  architecture: Architecture,
  digest: Digest,
): Descriptor {
  const runnable = index.manifests.filter(({ mediaType }) => !isIndex(mediaType));
  const fitting = runnable.find(
    ({ platform }) => platform?.os === "linux" && platform.architecture === architecture,
  );
  const [only] = runnable;
  const chosen =
    fitting ?? (runnable.length === 1 && only?.platform === undefined ? only : undefined);
  if (chosen !== undefined) return chosen;
  throw new PullError(
    "IMAGE_UNSUPPORTED",
    `the index ${digest} has no image for linux/${architecture}`,
    {
      hint: "build the image for this architecture too",
    },
  );
}

export type ImageLayer = { readonly descriptor: Descriptor; readonly diffId: Digest };

/** Pairs each layer with its diffId, lowest first.
 * @throws PullError IMAGE_INVALID or IMAGE_UNSUPPORTED */
export function pairLayers(
  manifest: ImageManifest,
  config: ImageConfig,
  digest: Digest,
): readonly ImageLayer[] {
  const diffIds = config.rootfs.diff_ids;
  if (diffIds.length !== manifest.layers.length) {
    throw invalid(
      digest,
      `it has ${manifest.layers.length} layers, and its config ${diffIds.length}`,
    );
  }
  return manifest.layers.map((descriptor, position) => {
    const diffId = diffIds[position];
    if (diffId === undefined) throw invalid(digest, "a layer has no diffId");
    if (layerCompression(descriptor.mediaType) === undefined) {
      throw new PullError(
        "IMAGE_UNSUPPORTED",
        `a layer of ${digest} is ${JSON.stringify(descriptor.mediaType)}`,
        {
          hint: "only plain, gzip and zstd tar layers can run; build the image without encryption or foreign layers",
        },
      );
    }
    return { descriptor, diffId };
  });
}

/** @throws PullError IMAGE_INVALID; IMAGE_UNSUPPORTED for another machine's image */
export function parseConfig(
  bytes: Buffer,
  architecture: Architecture,
  digest: Digest,
): ImageConfig {
  const config = check(ImageConfig, parseObject(bytes, digest), digest);
  if (config.os === "linux" && config.architecture === architecture) return config;
  throw new PullError(
    "IMAGE_UNSUPPORTED",
    `the image is for ${config.os}/${config.architecture}, this node is linux/${architecture}`,
    { hint: "build the image for this architecture too" },
  );
}

/** @throws PullError IMAGE_UNSUPPORTED for artifacts that are no images */
export function requireImage(manifest: ImageManifest, digest: Digest): void {
  const { mediaType } = manifest.config;
  if (
    (mediaType === mediaTypes.config || mediaType === mediaTypes.dockerConfig) &&
    manifest.layers.length > 0
  )
    return;
  throw new PullError("IMAGE_UNSUPPORTED", `${digest} is not an image that can run`, {
    hint: `its config is ${JSON.stringify(mediaType)} and it has ${manifest.layers.length} layers`,
  });
}

function parseObject(bytes: Buffer, digest: Digest): Readonly<Record<string, unknown>> {
  try {
    const json: unknown = JSON.parse(bytes.toString("utf8"));
    if (typeof json === "object" && json !== null && !Array.isArray(json)) return { ...json };
  } catch (cause) {
    throw invalid(digest, "it is not JSON", cause);
  }
  throw invalid(digest, "it is not a JSON object");
}

function check<T>(schema: z.ZodType<T>, json: unknown, digest: Digest): T {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw invalid(
    digest,
    `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "does not fit"}`,
    result.error,
  );
}

function invalid(digest: Digest, reason: string, cause?: unknown): PullError {
  return new PullError("IMAGE_INVALID", `${digest}: ${reason}`, {
    cause,
    hint: "build the image again with a tool that follows the OCI image spec",
  });
}
