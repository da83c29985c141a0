/** Looks through copies of the databases beside the controller's own thread: all of a large one takes seconds. */
import { Worker } from "node:worker_threads";

import type { CopiedBlob } from "@strata/registry/drivers/sqlite/read-copy";

import { ControllerError } from "../errors.ts";
import type { CopyFacts } from "../store/copy.ts";

export type CheckedCopies = {
  readonly facts: CopyFacts;
  /** Of the store. */
  readonly blobs: readonly CopiedBlob[];
};

export type CopyPaths = { readonly controller: string; readonly store: string };

/** What the thread answers. An error would lose its class on the way. */
export type CheckAnswer =
  | { readonly kind: "sound"; readonly checked: CheckedCopies }
  | { readonly kind: "newer" | "damaged"; readonly message: string; readonly hint: string };

/** @throws ControllerError BACKUP_INVALID, DATABASE_NEWER */
export async function checkCopies(paths: CopyPaths): Promise<CheckedCopies> {
  const worker = new Worker(new URL("./check-copies-worker.ts", import.meta.url), {
    workerData: paths,
  });
  const { promise, resolve, reject } = Promise.withResolvers<CheckAnswer>();
  worker.once("message", resolve);
  worker.once("error", reject);
  try {
    const answer = await promise;
    if (answer.kind === "sound") return answer.checked;
    const code = answer.kind === "newer" ? "DATABASE_NEWER" : "BACKUP_INVALID";
    throw new ControllerError(code, answer.message, { hint: answer.hint });
  } finally {
    await worker.terminate();
  }
}
