import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import process from "node:process";
import { buffer } from "node:stream/consumers";

import { applyDelta } from "@strata/protocol/delta/delta";
import { unpackArchive } from "@strata/protocol/delta/unpack-archive";
import { digestAlgorithm, digestHex } from "@strata/protocol/oci/digest";

import { DeltaJob } from "../image/delta-job.ts";

/** Puts one layer's archive together, in a process of its own: it takes some times the archive's size of memory, and
 * blocks. Internal: the agent starts it. */
export const deltaWorkerCommand = {
  name: "delta-worker",
  summary: "internal: make a layer of older ones and a delta from standard input",
  run: runDeltaWorker,
} as const;

/** Writes the archive, and not a byte unless all of it is right; ends with 1 otherwise. */
export async function runDeltaWorker(argv: readonly string[]): Promise<number> {
  const { bases, diffId, size } = DeltaJob.parse(JSON.parse(argv[0] ?? ""));
  const delta = await buffer(process.stdin);
  const archives = bases.map((path) => unpackArchive(readFileSync(path)));
  const made = applyDelta(archives, delta, size);
  const hash = createHash(digestAlgorithm(diffId)).update(made).digest("hex");
  if (hash !== digestHex(diffId)) {
    process.stderr.write("the delta makes another layer\n");
    return 1;
  }
  const { promise, resolve } = Promise.withResolvers<void>();
  process.stdout.write(made, () => resolve());
  await promise;
  return 0;
}
