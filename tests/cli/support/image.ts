/** Reads what a build wrote, with the parsers of the protocol and GNU tar. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { type Digest, digestHex } from "@strata/protocol/oci/digest";
import { ImageConfig, ImageIndex, ImageManifest } from "@strata/protocol/oci/image";

export type ReadImage = {
  readonly digest: Digest;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
  /** `tar -tv` of each layer, sorted lines apart. */
  readonly layers: readonly (readonly string[])[];
};

export function readImage(layout: string): ReadImage {
  const index = ImageIndex.parse(readJson(join(layout, "index.json")));
  const [descriptor] = index.manifests;
  if (descriptor === undefined) throw new Error("the layout names no image");
  const manifest = ImageManifest.parse(readJson(blob(layout, descriptor.digest)));
  const config = ImageConfig.parse(readJson(blob(layout, manifest.config.digest)));
  const layers = manifest.layers.map((layer) => listLayer(blob(layout, layer.digest)));
  return { digest: descriptor.digest, manifest, config, layers };
}

/** `drwxr-xr-x 0/0 0 etc/`: mode, owner, size and name, in the archive's order. */
function listLayer(file: string): readonly string[] {
  const args = ["--numeric-owner", "--utc", "--quoting-style=escape", "-tvf", file];
  const output = execFileSync("tar", args, {
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C" },
  });
  return output
    .trimEnd()
    .split("\n")
    .map((line) => line.replace(/ +\d{4}-\d\d-\d\d \d\d:\d\d /, " ").replaceAll(/ +/g, " "));
}

export function blob(layout: string, digest: Digest): string {
  return join(layout, "blobs", "sha256", digestHex(digest));
}

function readJson(file: string): unknown {
  return JSON.parse(readFileSync(file, "utf8"));
}
