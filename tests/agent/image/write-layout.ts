import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { mediaTypes } from "@strata/protocol/oci/media-type";

import { type BuiltImage, describeManifest } from "../../support/images.ts";
import { digestOf } from "../../support/registry-client.ts";

/** An OCI layout of one image with the tag `app`. */
export function writeLayout(directory: string, { manifest, blobs }: BuiltImage): void {
  mkdirSync(join(directory, "blobs/sha256"), { recursive: true });
  writeFileSync(join(directory, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  const annotations = { "org.opencontainers.image.ref.name": "app" };
  const manifests = [{ ...describeManifest(manifest), annotations }];
  writeFileSync(
    join(directory, "index.json"),
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests }),
  );
  for (const blob of [manifest.bytes, ...blobs]) writeFileSync(blobPath(directory, blob), blob);
}

export function blobPath(directory: string, blob: Buffer): string {
  return join(directory, "blobs", digestOf(blob).replace(":", "/"));
}
