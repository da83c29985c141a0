/** OCI image layouts (image-spec v1.1, "OCI Image Layout Specification"): written, replaced, packed and read. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";

import { getErrorCode } from "@strata/protocol/coded-error";
import { type Digest, digestAlgorithm, digestHex, parseDigest } from "@strata/protocol/oci/digest";
import {
  type Descriptor,
  ImageIndex,
  type ImageManifest,
  MANIFEST_SIZE_BYTES_MAX,
} from "@strata/protocol/oci/image";
import { mediaTypes } from "@strata/protocol/oci/media-type";

import { CliError } from "../errors.ts";
import { removeTree } from "../remove-tree.ts";

/** image-spec v1.1, "Pre-Defined Annotation Keys": the tag of an entry of `index.json`. */
const tagAnnotation = "org.opencontainers.image.ref.name";
/** Ours: the repository that the image was named for. */
const repositoryAnnotation = "io.strata.repository";
const marker = JSON.stringify({ imageLayoutVersion: "1.0.0" });

/** What a blob of JSON is called, and its bytes. */
export type Document = { readonly descriptor: Descriptor; readonly bytes: Buffer };

export function blobsOf(layout: string): string {
  return join(layout, "blobs", "sha256");
}

export function blobPath(layout: string, digest: Digest): string {
  return join(layout, "blobs", digestAlgorithm(digest), digestHex(digest));
}

/** Makes the folders of a new layout in an empty folder. */
export async function startLayout(folder: string): Promise<void> {
  await mkdir(blobsOf(folder), { recursive: true });
}

export async function writeDocument(
  layout: string,
  mediaType: string,
  content: object,
): Promise<Descriptor> {
  const { descriptor, bytes } = encodeDocument(mediaType, content);
  await writeFile(blobPath(layout, descriptor.digest), bytes);
  return descriptor;
}

function encodeDocument(mediaType: string, content: object): Document {
  const bytes = Buffer.from(JSON.stringify(content));
  const digest = parseDigest(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
}

/** Writes the index and the marker: from here on the folder is a layout. */
export async function finishLayout(
  folder: string,
  image: Descriptor,
  name: { readonly repository: string; readonly tag: string },
): Promise<void> {
  const annotations = { [tagAnnotation]: name.tag, [repositoryAnnotation]: name.repository };
  const index = {
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: [{ ...image, annotations }],
  };
  await writeFile(join(folder, "index.json"), JSON.stringify(index));
  await writeFile(join(folder, "oci-layout"), marker);
}

/** Moves a finished layout to where it belongs; what is there is replaced when it is a layout, too.
 * @throws CliError TARGET_OCCUPIED */
export async function publishLayout(finished: string, target: string): Promise<void> {
  const isLayout = await exists(join(target, "oci-layout"));
  try {
    if (isLayout) await removeTree(target);
    // Onto an empty folder this succeeds, onto any other it fails.
    await rename(finished, target);
  } catch (cause) {
    if (!["ENOTEMPTY", "EEXIST", "ENOTDIR"].includes(getErrorCode(cause) ?? "")) throw cause;
    throw new CliError("TARGET_OCCUPIED", `${target} holds something that is not an OCI layout`, {
      cause,
      hint: "name another place with -o, or move it away",
    });
  }
}

export type LayoutImage = {
  readonly descriptor: Descriptor;
  readonly tag: string | undefined;
  readonly repository: string | undefined;
};

/** The images that `index.json` names.
 * @throws CliError LAYOUT_INVALID */
export async function readLayout(folder: string): Promise<readonly LayoutImage[]> {
  if (!(await exists(join(folder, "oci-layout")))) {
    throw new CliError("LAYOUT_INVALID", `${folder} is not an OCI image layout`, {
      hint: "make one with: strata cartridge build DIR -o LAYOUT",
    });
  }
  const index = ImageIndex.safeParse(
    parseJson(await readFile(join(folder, "index.json"), "utf8"), folder),
  );
  if (!index.success) {
    throw new CliError("LAYOUT_INVALID", `index.json of ${folder} is not an index`, {
      cause: index.error,
    });
  }
  return index.data.manifests.map((descriptor) => ({
    descriptor,
    tag: descriptor.annotations?.[tagAnnotation],
    repository: descriptor.annotations?.[repositoryAnnotation],
  }));
}

/** The bytes of a manifest or index, checked against its digest. */
export async function readManifestBytes(layout: string, descriptor: Descriptor): Promise<Buffer> {
  if (descriptor.size > MANIFEST_SIZE_BYTES_MAX) {
    throw new CliError("LAYOUT_INVALID", `manifest ${descriptor.digest} is over 4 MiB`);
  }
  const bytes = await readFile(blobPath(layout, descriptor.digest));
  const hash = createHash(digestAlgorithm(descriptor.digest)).update(bytes).digest("hex");
  if (hash === digestHex(descriptor.digest)) return bytes;
  throw new CliError(
    "LAYOUT_INVALID",
    `manifest ${descriptor.digest} is damaged: its bytes hash to ${hash}`,
    {
      hint: "build or copy the layout again",
    },
  );
}

/** A blob from byte `start` on. */
export function openBlob(layout: string, digest: Digest, start: number): Readable {
  return createReadStream(blobPath(layout, digest), { start, highWaterMark: 1024 * 1024 });
}

/** @throws CliError LAYOUT_INVALID when a blob that the image needs is missing or cut. */
export async function requireBlobs(layout: string, manifest: ImageManifest): Promise<void> {
  for (const { digest, size } of [manifest.config, ...manifest.layers]) {
    const stats = await stat(blobPath(layout, digest)).catch(() => undefined);
    if (stats?.size === size) continue;
    const found = stats === undefined ? "missing" : `${stats.size} bytes instead of ${size}`;
    throw new CliError("LAYOUT_INVALID", `blob ${digest} of ${layout} is ${found}`, {
      hint: "build or copy the layout again",
    });
  }
}

export function parseJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CliError("LAYOUT_INVALID", `${source} holds broken JSON`, { cause });
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
