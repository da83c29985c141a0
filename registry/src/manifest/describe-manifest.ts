import type { Digest } from "@strata/protocol/oci/digest";

import type { PutManifest } from "../metadata-store.ts";
import type { ParsedManifest } from "./parse-manifest.ts";

/** What the metadata keeps of a manifest, besides where it is. */
export function describeManifest(
  parsed: ParsedManifest,
  { digest, body }: { readonly digest: Digest; readonly body: Buffer },
): Omit<PutManifest, "repository" | "tags" | "at"> {
  const { mediaType, references, subject, artifactType, annotations } = parsed;
  const sizeBytes = body.length;
  const descriptor = { mediaType, digest, size: sizeBytes, artifactType, annotations };
  const referrer = subject === undefined ? undefined : JSON.stringify(descriptor);
  return { mediaType, digest, sizeBytes, body, references, subject, artifactType, referrer };
}
