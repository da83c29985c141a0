import type { Digest } from "@strata/protocol/oci/digest";

import type { HeaderRecord } from "../errors.ts";
import { entityTag } from "./conditional.ts";

/** What goes with every answer about a blob: it never changes. */
export function blobHeaders(digest: Digest): HeaderRecord {
  return {
    "content-type": "application/octet-stream",
    "docker-content-digest": digest,
    etag: entityTag(digest),
    "accept-ranges": "bytes",
    "cache-control": "max-age=31536000, immutable",
  };
}
