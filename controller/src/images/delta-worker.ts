/** The thread that makes one delta and ends. */
import { createHash } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";

import { applyDelta, createDelta } from "@strata/protocol/delta/delta";
import { digestAlgorithm, digestHex } from "@strata/protocol/oci/digest";

import type { DeltaJob, DeltaResult } from "./deltas.ts";

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origins
parentPort?.postMessage(make(workerData));

/** Tried before it is given out: it makes the blob to the byte. */
function make({ bases, target, digest }: DeltaJob): DeltaResult {
  const sources = bases.map((bytes) => Buffer.from(bytes));
  const delta = createDelta(sources, Buffer.from(target));
  if (delta === undefined) return undefined;
  const made = applyDelta(sources, delta, target.length);
  const hash = createHash(digestAlgorithm(digest)).update(made).digest("hex");
  return hash === digestHex(digest) ? delta : undefined;
}
