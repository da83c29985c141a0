import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

import { type Digest, digestHex, parseDigest } from "@strata/protocol/oci/digest";
import { mediaTypes } from "@strata/protocol/oci/media-type";

import { requireKeptFolder } from "../../tests/support/machines/kept-folder.ts";

export type PullImage = {
  readonly name: string;
  /** An OCI layout with this one image, tagged `latest`. */
  readonly layout: string;
  /** Its blobs in the layout, lowest first. */
  readonly layers: readonly string[];
};

/** What is in each of them: make-pull-layers.sh. */
const names: readonly string[] = ["small", "debian", "layers"];

/** The images as OCI layouts below `folder`. Their layers are made by the first run, which takes two minutes, and are
 * kept in the cache that the tests have as well. */
export async function makePullImages(folder: string): Promise<readonly PullImage[]> {
  const script = join(import.meta.dirname, "make-pull-layers.sh");
  const version = digestOf(await readFile(script)).slice(-12);
  const made = requireKeptFolder({
    cache: "/var/cache/strata-test",
    name: `pull-layers-${version}`,
    command: [script],
  });
  const images: PullImage[] = [];
  for (const name of names) {
    const files = readdirSync(join(made, name)).toSorted();
    images.push(
      await writeImage(
        files.map((file) => join(made, name, file)),
        { name, layout: join(folder, name) },
      ),
    );
  }
  return images;
}

type Descriptor = { readonly mediaType: string; readonly digest: Digest; readonly size: number };

async function writeImage(
  files: readonly string[],
  { name, layout }: Pick<PullImage, "name" | "layout">,
): Promise<PullImage> {
  const blobs = join(layout, "blobs/sha256");
  await mkdir(blobs, { recursive: true });
  const layers: Descriptor[] = [];
  const diffIds: Digest[] = [];
  for (const file of files) {
    const bytes = await readFile(file);
    const digest = digestOf(bytes);
    layers.push({ mediaType: mediaTypes.layerGzip, digest, size: bytes.length });
    diffIds.push(digestOf(gunzipSync(bytes)));
    await copyFile(file, join(blobs, digestHex(digest)));
  }
  const write = async (mediaType: string, content: object): Promise<Descriptor> => {
    const bytes = Buffer.from(JSON.stringify(content));
    const digest = digestOf(bytes);
    await writeFile(join(blobs, digestHex(digest)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const config = await write(mediaTypes.config, {
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Cmd: ["/bin/sh"] },
    rootfs: { type: "layers", diff_ids: diffIds },
  });
  const manifest = await write(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config,
    layers,
  });
  const annotations = { "org.opencontainers.image.ref.name": "latest" };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
  await writeFile(join(layout, "index.json"), JSON.stringify(index));
  await writeFile(join(layout, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  return { name, layout, layers: layers.map(({ digest }) => join(blobs, digestHex(digest))) };
}

function digestOf(bytes: Buffer): Digest {
  return parseDigest(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);
}
