/** Media types of OCI image-spec v1.1, "OCI Image Media Types", and of Docker's image manifest v2 schema 2. */
export const mediaTypes = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
  layerGzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  layerZstd: "application/vnd.oci.image.layer.v1.tar+zstd",
  empty: "application/vnd.oci.empty.v1+json",
  dockerList: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerConfig: "application/vnd.docker.container.image.v1+json",
  dockerLayer: "application/vnd.docker.image.rootfs.diff.tar",
  dockerLayerGzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
} as const;

/** Everything that stands where a tag or digest is asked for. */
export const manifestMediaTypes: readonly string[] = [
  mediaTypes.index,
  mediaTypes.manifest,
  mediaTypes.dockerList,
  mediaTypes.dockerManifest,
];

export type Compression = "none" | "gzip" | "zstd";

/** How a layer's bytes are compressed, by its media type; undefined for what is not a layer that we can unpack. */
export function layerCompression(mediaType: string): Compression | undefined {
  switch (mediaType) {
    case mediaTypes.layer:
    case mediaTypes.dockerLayer:
      return "none";
    case mediaTypes.layerGzip:
    case mediaTypes.dockerLayerGzip:
      return "gzip";
    case mediaTypes.layerZstd:
    case `${mediaTypes.dockerLayer}.zstd`:
      return "zstd";
    default:
      return undefined;
  }
}

export function isIndex(mediaType: string): boolean {
  return mediaType === mediaTypes.index || mediaType === mediaTypes.dockerList;
}
