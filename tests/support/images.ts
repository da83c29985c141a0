import { mediaTypes } from "@strata/protocol/oci/media-type";

import { digestOf, type PushedManifest, randomBlob } from "./registry-client.ts";

export type Descriptor = {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly [field: string]: unknown;
};

/** A manifest with its bytes and its name. */
export type BuiltManifest = PushedManifest & { readonly digest: string };

/** `algorithm` [sha256] names everything in it. */
type Naming = { readonly algorithm?: string };

export function describe(bytes: Buffer, mediaType: string, algorithm = "sha256"): Descriptor {
  return { mediaType, digest: digestOf(bytes, algorithm), size: bytes.length };
}

export function describeManifest(manifest: BuiltManifest): Descriptor {
  return { mediaType: manifest.mediaType, digest: manifest.digest, size: manifest.bytes.length };
}

/** Any JSON as a manifest of this media type. */
export function buildManifest(
  value: object,
  mediaType: string,
  { algorithm = "sha256" }: Naming = {},
): BuiltManifest {
  const bytes = Buffer.from(JSON.stringify(value));
  return { bytes, mediaType, digest: digestOf(bytes, algorithm) };
}

export type BuiltImage = { readonly manifest: BuiltManifest; readonly blobs: readonly Buffer[] };

export type ImageOptions = Naming & {
  readonly layers?: readonly Buffer[];
  readonly layerType?: string;
  readonly config?: Buffer;
  readonly configType?: string;
  /** Further fields of the manifest. */
  readonly fields?: object;
};

/** An image or artifact of random layers. */
export function anImage(options: ImageOptions = {}): BuiltImage {
  const { algorithm = "sha256", layerType = mediaTypes.layerGzip, fields = {} } = options;
  const { configType = mediaTypes.config, layers = [randomBlob(), randomBlob()] } = options;
  const config =
    options.config ??
    Buffer.from(
      JSON.stringify({ architecture: "amd64", os: "linux", nonce: digestOf(randomBlob()) }),
    );
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: describe(config, configType, algorithm),
    layers: layers.map((layer) => describe(layer, layerType, algorithm)),
    ...fields,
  };
  return {
    manifest: buildManifest(manifest, mediaTypes.manifest, { algorithm }),
    blobs: [config, ...layers],
  };
}

export function anIndex(
  manifests: readonly Descriptor[],
  { algorithm = "sha256", fields = {} }: Naming & { readonly fields?: object } = {},
): BuiltManifest {
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests, ...fields };
  return buildManifest(index, mediaTypes.index, { algorithm });
}
