import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";

import { parseImageLimits } from "../image/image-limits.ts";
import { finishTree } from "../layer/finish-tree.ts";
import type { LayerLimits } from "../layer/limits.ts";
import { describeReport } from "../layer/report-text.ts";
import { fillDirectory } from "../layer/staged-directory.ts";
import { newRoot } from "../layer/tree.ts";
import { type UnpackedLayer, unpackLayer } from "../layer/unpack-layer.ts";
import type { Environment } from "../parse-setting.ts";
import { reportFailure } from "./failure.ts";

/** Unpacks one layer as the agent does, whiteouts in the form of overlayfs. */
export const unpackCommand = {
  name: "unpack",
  summary: "unpack one layer of an image into a new folder, as the agent does",
  run: runUnpack,
} as const;

/** `LAYER.tar[.gz|.zst] DIR`. A layer that is refused ends with 1 and leaves DIR as it was. */
async function runUnpack(argv: readonly string[], environment: Environment): Promise<number> {
  const [file, directory, ...rest] = argv;
  if (file === undefined || directory === undefined || rest.length > 0) {
    process.stderr.write("usage: strata-agent unpack LAYER.tar[.gz|.zst] DIR\n");
    return 2;
  }
  try {
    const path = resolve(file);
    const { layer: limits } = parseImageLimits(environment);
    const layer = await fillDirectory(directory, () => unpackFile(path, limits));
    for (const line of describeReport(layer)) process.stderr.write(`strata-agent: ${line}\n`);
    process.stdout.write(`${layer.diffId} ${layer.entries} entries\n`);
    return 0;
  } catch (error) {
    return reportFailure(error);
  }
}

async function unpackFile(path: string, limits: LayerLimits): Promise<UnpackedLayer> {
  const root = newRoot();
  const blob: AsyncIterable<Buffer> = createReadStream(path, { highWaterMark: 256 * 1024 });
  const layer = await unpackLayer(blob, {
    root,
    policy: "overlay",
    layer: 1,
    limits,
    algorithm: "sha256",
  });
  await finishTree(root);
  return layer;
}
