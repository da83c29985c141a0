import { CodedError } from "@strata/protocol/coded-error";
import { parseStrictJson as parse } from "@strata/protocol/oci/strict-json";

import { RegistryError } from "../errors.ts";

/** JSON of a manifest that all parsers read alike.
 * @throws RegistryError MANIFEST_INVALID */
export function parseStrictJson(bytes: Uint8Array): unknown {
  try {
    return parse(bytes);
  } catch (cause) {
    if (!(cause instanceof CodedError)) throw cause;
    const { hint } = cause;
    throw new RegistryError("MANIFEST_INVALID", `the manifest cannot be read: ${cause.message}`, {
      cause,
      ...(hint === undefined ? {} : { hint }),
    });
  }
}
