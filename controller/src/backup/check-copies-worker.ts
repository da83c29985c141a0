/** The thread of `check-copies.ts`. */
import { parentPort, workerData } from "node:worker_threads";

import { CodedError, getErrorCode } from "@strata/protocol/errors";
import { readMetadataCopy } from "@strata/registry/drivers/sqlite/read-copy";

import { readCopy, refuseNewerCopy } from "../store/copy.ts";
import type { CheckAnswer, CopyPaths } from "./check-copies.ts";

function check({ controller, store }: CopyPaths): CheckAnswer {
  try {
    refuseNewerCopy(controller);
    const checked = { facts: readCopy(controller), blobs: readMetadataCopy(store) };
    return { kind: "sound", checked };
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    const kind = getErrorCode(error) === "DATABASE_NEWER" ? "newer" : "damaged";
    return { kind, message: error.message, hint: error.hint ?? "take another backup" };
  }
}

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origins
parentPort?.postMessage(check(workerData));
