import { existsSync } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";

import { digestAlgorithm } from "@strata/protocol/oci/digest";

import { requireArchitecture } from "../host/machine.ts";
import { PullError } from "../image/errors.ts";
import { type ImageLimits, parseImageLimits } from "../image/image-limits.ts";
import type { ImageLayer } from "../image/manifest.ts";
import { readLayout, streamLayer } from "../image/oci-layout.ts";
import { overLimit } from "../layer/errors.ts";
import { finishTree } from "../layer/finish-tree.ts";
import { describeReport } from "../layer/report-text.ts";
import { fillDirectory } from "../layer/staged-directory.ts";
import { newRoot } from "../layer/tree.ts";
import { unpackLayer } from "../layer/unpack-layer.ts";
import type { Environment } from "../parse-setting.ts";
import { reportFailure } from "./failure.ts";

/** Applies all layers of an image to one plain tree. */
export const rootfsCommand = {
  name: "rootfs",
  summary: "unpack all layers of an image in an OCI layout into a new folder",
  run: runRootfs,
} as const;

/** `OCI-LAYOUT[:TAG] DIR`. An image that is refused ends with 1 and leaves DIR as it was. */
async function runRootfs(argv: readonly string[], environment: Environment): Promise<number> {
  const [source, directory, ...rest] = argv;
  if (source === undefined || directory === undefined || rest.length > 0) {
    process.stderr.write("usage: strata-agent rootfs OCI-LAYOUT[:TAG] DIR\n");
    return 2;
  }
  try {
    const layout = parseSource(source);
    const layers = readLayout({ ...layout, architecture: requireArchitecture() });
    const limits = parseImageLimits(environment);
    await fillDirectory(directory, () => applyLayers(layout.directory, layers, limits));
    process.stdout.write(`${layers.length} layers\n`);
    return 0;
  } catch (error) {
    return reportFailure(error);
  }
}

/** A colon may also be part of the folder's name. */
function parseSource(source: string): {
  readonly directory: string;
  readonly tag: string | undefined;
} {
  const colon = source.lastIndexOf(":");
  if (colon <= source.lastIndexOf("/") || existsSync(source))
    return { directory: resolve(source), tag: undefined };
  return { directory: resolve(source.slice(0, colon)), tag: source.slice(colon + 1) };
}

async function applyLayers(
  layout: string,
  layers: readonly ImageLayer[],
  { layer: limits, imageBytesMax }: ImageLimits,
): Promise<void> {
  const root = newRoot();
  let archiveBytes = 0;
  for (const [position, { descriptor, diffId }] of layers.entries()) {
    const layer = await unpackLayer(streamLayer(layout, descriptor), {
      root,
      policy: "apply",
      layer: position + 1,
      limits,
      algorithm: digestAlgorithm(diffId),
    });
    archiveBytes += layer.archiveBytes;
    if (archiveBytes > imageBytesMax)
      throw overLimit(`the image holds more than ${imageBytesMax} bytes`);
    if (layer.diffId !== diffId) {
      throw new PullError(
        "LAYER_DIGEST_MISMATCH",
        `a layer's archive is ${layer.diffId}, the config says ${diffId}`,
      );
    }
    for (const line of describeReport(layer)) process.stderr.write(`strata-agent: ${line}\n`);
  }
  await finishTree(root);
}
