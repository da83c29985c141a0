import { getErrorCode } from "@strata/protocol/errors";

import { isDiskFull } from "../disk-full.ts";
import { errorStatus, RegistryError } from "../errors.ts";
import type { RegistryLogger } from "../logger.ts";
import { answerJson } from "./answer.ts";

const outOfDescriptors: ReadonlySet<string> = new Set(["EMFILE", "ENFILE"]);

/** Makes a RegistryError of anything thrown, and logs what is a fault of ours. */
export function toRegistryError(error: unknown, logger: RegistryLogger): RegistryError {
  if (error instanceof RegistryError) return error;
  if (isDiskFull(error)) {
    logger.error({ err: error }, "the disk of the store is full");
    return new RegistryError("INSUFFICIENT_STORAGE", "the disk of the store is full", {
      cause: error,
      hint: "delete what is not needed or give the store more space; nothing of this push was kept",
    });
  }
  if (outOfDescriptors.has(getErrorCode(error) ?? "")) {
    logger.error({ err: error }, "no file descriptors left");
    return new RegistryError("TOOMANYREQUESTS", "the registry has too many files open", {
      cause: error,
      headers: { "retry-after": "5" },
    });
  }
  if (getErrorCode(error) === "STORAGE_UNAVAILABLE") {
    logger.error({ err: error }, "the bucket of the store does not answer");
    return new RegistryError("STORAGE_UNAVAILABLE", "what keeps the blobs does not answer", {
      cause: error,
      hint: "try again; of an upload, ask for the status first and go on there",
      headers: { "retry-after": "10" },
    });
  }
  logger.error({ err: error }, "request failed");
  return new RegistryError("INTERNAL", "the registry could not do this", {
    cause: error,
    hint: "the registry's log has the cause",
  });
}

/** distribution-spec v1.1, "Error Codes". */
export function answerError(error: RegistryError): Response {
  const { code, message, hint, headers } = error;
  const detail = hint === undefined ? undefined : { hint };
  return answerJson({
    value: { errors: [{ code, message, detail }] },
    status: errorStatus(code),
    headers,
  });
}
