import process from "node:process";

import { CodedError } from "@strata/protocol/coded-error";

import { boundGrowth, decompress } from "../layer/decompress.ts";
import { readInflated } from "../layer/end-mark.ts";
import { finishTree } from "../layer/finish-tree.ts";
import { newRoot } from "../layer/tree.ts";
import { unpackArchive } from "../layer/unpack-layer.ts";
import type { LayerRecord, UnpackJob, UnpackOutcome } from "../layer/worker-protocol.ts";

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
  await new Promise<void>((resolve) => {
    process.stdout.write(`${JSON.stringify(outcome)}\n`, () => resolve());
  });
  // A layer that was refused may leave a read behind that ends only when more comes.
  process.exit(0);
}

async function unpackJob(text: string): Promise<UnpackOutcome> {
  try {
    const job = parseJob(text);
    process.chdir(job.directory);
    process.umask(0);
    return { ok: true, layer: await unpackHere(job) };
  } catch (error) {
    return failedOutcome(error);
  }
}

/** The agent wrote it, and is this very program. */
function parseJob(text: string): UnpackJob {
  return JSON.parse(text) as UnpackJob;
}

async function unpackHere(job: UnpackJob): Promise<LayerRecord> {
  const { limits, algorithm } = job;
  const root = newRoot();
  const layer = await unpackArchive(openArchive(job), {
    root,
    policy: "overlay",
    layer: 1,
    limits,
    algorithm,
  });
  await finishTree(root);
  return { ...layer, rootOpaque: root.opaque };
}

function openArchive({ blob, limits, inflated }: UnpackJob): AsyncIterable<Buffer> {
  if (!inflated) return decompress(process.stdin, limits);
  // Opened again, because a runtime makes its own standard input one that does not block.
  const archive = readInflated("/proc/self/fd/0", blob.digest);
  // The whole blob is known to be of this size before its last bytes come.
  return boundGrowth(archive, limits, () => blob.size);
}

function failedOutcome(error: unknown): UnpackOutcome {
  if (error instanceof CodedError) {
    const { code, message, hint, retryable } = error;
    return { ok: false, code, message, retryable, ...(hint === undefined ? {} : { hint }) };
  }
  return { ok: false, code: "UNPACK_FAILED", message: String(error), retryable: true };
}
