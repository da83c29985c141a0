/** What the other side has: all that an earlier bundle brought or built on. */
import type { Digest } from "@strata/protocol/oci/digest";

import type { Base } from "./plan.ts";
import type { Bundle } from "./read.ts";

/** The bundle is taken at its word: what it says it holds, the other side has once it was loaded. */
export function baseOf({ id, blobs, contents }: Bundle): Base {
  const known = new Set<Digest>(blobs.keys());
  for (const { digest } of [...contents.required, ...contents.deltas]) known.add(digest);
  return { id, has: (digest) => known.has(digest) };
}
