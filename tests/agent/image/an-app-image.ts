import { gzipSync } from "node:zlib";

import { mediaTypes } from "@strata/protocol/oci/media-type";

import { anImage, type BuiltImage, type ImageOptions } from "../../support/images.ts";
import { createClient, digestOf } from "../../support/registry-client.ts";

export type AppImage = BuiltImage & { readonly diffIds: readonly string[] };

/** An image that can be unpacked, of these archives. */
export function anAppImage(
  archives: readonly Buffer[],
  options: ImageOptions & {
    readonly config?: never;
    readonly fields?: object;
    readonly platform?: object;
    readonly diffIds?: readonly string[];
  } = {},
): AppImage {
  const diffIds = options.diffIds ?? archives.map((archive) => digestOf(archive));
  const config = {
    architecture: "amd64",
    os: "linux",
    config: { Cmd: ["/bin/true"] },
    rootfs: { type: "layers", diff_ids: diffIds },
    ...options.platform,
  };
  const layers = archives.map((archive) => gzipSync(archive));
  const image = anImage({
    layerType: mediaTypes.layerGzip,
    ...options,
    layers,
    config: Buffer.from(JSON.stringify(config)),
  });
  return { ...image, diffIds };
}

/** Pushes to the repository `app`; gives back the manifest's digest. */
export async function pushApp(url: string, image: BuiltImage): Promise<string> {
  const client = createClient(url);
  for (const blob of image.blobs) await client.pushBlob("app", blob);
  const { digest } = image.manifest;
  const answer = await client.putManifest(`/v2/app/manifests/${digest}`, image.manifest);
  if (answer.status !== 201)
    throw new Error(`push answered ${answer.status}: ${answer.body.toString()}`);
  return digest;
}
