import process from "node:process";

import { finishTree } from "../layer/finish-tree.ts";
import { newRoot } from "../layer/tree.ts";
import { unpackLayer } from "../layer/unpack-layer.ts";
import {
  failedOutcome,
  type LayerRecord,
  UnpackJob,
  type UnpackOutcome,
} from "../layer/worker-protocol.ts";

/** Unpacks one layer for the agent, in a process of its own: unpacking blocks for as long as it takes, and may run
 * out of memory. Internal: the agent starts it. */
export const unpackWorkerCommand = {
  name: "unpack-worker",
  summary: "internal: unpack a layer from standard input",
  run: runUnpackWorker,
} as const;

/** Ends with 0 also when the layer was refused: the outcome is on standard output. */
export async function runUnpackWorker(argv: readonly string[]): Promise<number> {
  const outcome = await unpackJob(argv[0] ?? "");
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
  return 0;
}

async function unpackJob(text: string): Promise<UnpackOutcome> {
  try {
    const job = UnpackJob.parse(JSON.parse(text));
    process.chdir(job.directory);
    process.umask(0);
    return { ok: true, layer: await unpackHere(job) };
  } catch (error) {
    return failedOutcome(error);
  }
}

async function unpackHere({ limits, algorithm }: UnpackJob): Promise<LayerRecord> {
  const root = newRoot();
  const blob: AsyncIterable<Buffer> = process.stdin;
  const layer = await unpackLayer(blob, { root, policy: "overlay", layer: 1, limits, algorithm });
  await finishTree(root);
  return { ...layer, rootOpaque: root.opaque };
}
