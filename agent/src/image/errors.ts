import { CodedError } from "@strata/protocol/errors";

import type { LayerErrorCode } from "../layer/errors.ts";

/** Why an image could not be made ready on this node. The controller stores the code with the process. A LayerError's
 * code comes through as it is. */
export type PullErrorCode =
  | "IMAGE_NOT_FOUND" // The registry has no such manifest: a retry cannot help.
  | "IMAGE_INVALID" // The manifest or the config is not what the image spec says, or they do not fit each other.
  | "IMAGE_UNSUPPORTED" // Nothing in it is for this machine, or a layer is of a kind that cannot be unpacked.
  | "MANIFEST_DIGEST_MISMATCH" // A manifest or config does not hash to the digest that was asked for.
  | "LAYER_NOT_FOUND" // The manifest names a blob that the registry does not have.
  | "LAYER_DIGEST_MISMATCH" // The bytes received do not hash to the descriptor's digest, or the archive not to its diffId.
  | "REGISTRY_DENIED" // This node's credential may not pull from there.
  | "REGISTRY_UNREACHABLE" // Connect, TLS, 429 or 5xx, at every attempt: worth another try later.
  | "REGISTRY_ANSWER_INVALID" // The registry does not keep to the distribution spec.
  | "PULL_ABORTED" // The caller no longer wants the image.
  | "UNPACK_FAILED" // The process that unpacks ended without a word, perhaps for lack of memory.
  | LayerErrorCode;

export class PullError extends CodedError<PullErrorCode> {}
