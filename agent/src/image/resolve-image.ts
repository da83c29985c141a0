/** From a digest to what must be unpacked. What was fetched once is on disk and is not asked for again. */
import type { Digest } from "@strata/protocol/oci/digest";
import {
  CONFIG_SIZE_BYTES_MAX,
  type Descriptor,
  type ImageConfig,
  type ImageManifest,
} from "@strata/protocol/oci/image";

import { type ContentFolder, requireDigest } from "./content.ts";
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
import type { RegistryClient } from "./registry-client.ts";

export type ImageSource = {
  readonly client: RegistryClient;
  readonly contents: ContentFolder;
  readonly architecture: Architecture;
};

export type ImageRequest = {
  readonly repository: string;
  readonly digest: Digest;
  readonly signal: AbortSignal;
};

export type ResolvedImage = {
  readonly manifestDigest: Digest;
  readonly config: ImageConfig;
  readonly layers: readonly ImageLayer[];
  /** Everything small that the image needs on disk: index, manifest, config. */
  readonly contents: readonly Digest[];
};

/** @throws PullError */
export async function resolveImage(
  source: ImageSource,
  request: ImageRequest,
): Promise<ResolvedImage> {
  const document = await readManifest(source, request, request.digest);
  if (document.kind === "manifest") return resolveManifest(source, request, document);
  const chosen = selectManifest(document.index, source.architecture, request.digest);
  const child = await readManifest(source, request, chosen.digest);
  if (child.kind !== "manifest")
    throw new PullError("IMAGE_INVALID", `${chosen.digest}: an index inside an index`);
  const image = await resolveManifest(source, { ...request, digest: chosen.digest }, child);
  return { ...image, contents: [request.digest, ...image.contents] };
}

async function resolveManifest(
  source: ImageSource,
  request: ImageRequest,
  { manifest }: { readonly manifest: ImageManifest },
): Promise<ResolvedImage> {
  const { digest } = request;
  requireImage(manifest, digest);
  const bytes = await readConfig(source, request, manifest.config);
  return describe(manifest, parseConfig(bytes, source.architecture, digest), digest);
}

function describe(manifest: ImageManifest, config: ImageConfig, digest: Digest): ResolvedImage {
  return {
    manifestDigest: digest,
    config,
    layers: pairLayers(manifest, config, digest),
    contents: [digest, manifest.config.digest],
  };
}

async function readManifest(
  { client, contents }: ImageSource,
  { repository, signal }: ImageRequest,
  digest: Digest,
): Promise<ReturnType<typeof parseManifest>> {
  const stored = contents.get(digest);
  if (stored !== undefined) return parseManifest(stored, digest);
  const { bytes, mediaType } = await client.getManifest({ repository, reference: digest, signal });
  const document = parseManifest(bytes, digest, mediaType);
  contents.put(digest, bytes);
  return document;
}

async function readConfig(
  { client, contents }: ImageSource,
  { repository, signal }: ImageRequest,
  { digest, size }: Descriptor,
): Promise<Buffer> {
  const stored = contents.get(digest);
  if (stored !== undefined) return stored;
  if (size > CONFIG_SIZE_BYTES_MAX) {
    throw new PullError(
      "IMAGE_INVALID",
      `the config ${digest} has ${size} bytes, over ${CONFIG_SIZE_BYTES_MAX}`,
    );
  }
  const chunks: Buffer[] = [];
  for await (const chunk of client.streamBlob({ repository, digest, size, signal }))
    chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  requireDigest(bytes, digest);
  contents.put(digest, bytes);
  return bytes;
}
