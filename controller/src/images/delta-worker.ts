/** The thread that makes one delta and ends. */
import { parentPort, workerData } from "node:worker_threads";

import { applyDelta, createDelta } from "@strata/protocol/delta/delta";
import { unpackArchive } from "@strata/protocol/delta/unpack-archive";

import type { DeltaJob, DeltaResult } from "./deltas.ts";

/** Of the blob: what saves less than a fifth is not worth the work. */
const WORTH = 0.8;

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origins
parentPort?.postMessage(make(workerData));

/** Tried before it is given out: it makes the archive to the byte. */
function make({ bases, target }: DeltaJob): DeltaResult {
  const archives = bases.map((bytes) => unpackArchive(Buffer.from(bytes)));
  const archive = unpackArchive(Buffer.from(target));
  const bytes = createDelta(archives, archive);
  if (bytes === undefined || bytes.length > target.length * WORTH) return undefined;
  if (!applyDelta(archives, bytes, archive.length).equals(archive)) return undefined;
  return { bytes, archiveBytes: archive.length };
}
