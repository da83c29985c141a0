import { CodedError } from "@strata/protocol/coded-error";

/** Why a layer was not unpacked. Nothing of it is left on disk. */
export type LayerErrorCode =
  | "LAYER_MALFORMED" // Not a tar archive as Go's archive/tar reads it, or damaged compression.
  | "LAYER_REFUSED" // An entry that the rules for unpacking refuse; the message names it.
  | "LAYER_LIMIT" // Larger, deeper or longer than this node allows.
  | "LAYER_NO_SPACE" // The file system of the image store is full.
  | "LAYER_WRITE_FAILED"; // The host refused a file operation: not the image's fault.

const codes: ReadonlySet<string> = new Set<LayerErrorCode>([
  "LAYER_MALFORMED",
  "LAYER_REFUSED",
  "LAYER_LIMIT",
  "LAYER_NO_SPACE",
  "LAYER_WRITE_FAILED",
]);

export class LayerError extends CodedError<LayerErrorCode> {}

export function isLayerErrorCode(code: string): code is LayerErrorCode {
  return codes.has(code);
}

export function malformed(message: string): LayerError {
  return new LayerError("LAYER_MALFORMED", message, {
    hint: "build and push the image again; the archive is damaged or was not written by a tar program",
  });
}

/** `name` is the entry's name as bytes in latin1; it is shown escaped, for it may hold anything. */
export function refused(name: string, reason: string): LayerError {
  return new LayerError("LAYER_REFUSED", `entry ${showName(name)}: ${reason}`, {
    hint: "remove this entry from the image; no image that a usual build tool makes contains one",
  });
}

export function overLimit(message: string): LayerError {
  return new LayerError("LAYER_LIMIT", message, {
    hint: "make the image smaller, or raise the limit in the agent's settings",
  });
}

/** Bytes in latin1 as quoted text: UTF-8 where it is UTF-8, at most 200 characters, no control characters. */
export function showName(name: string): string {
  const text = JSON.stringify(Buffer.from(name, "latin1").toString("utf8"));
  return text.length > 200 ? `${text.slice(0, 200)}…"` : text;
}
