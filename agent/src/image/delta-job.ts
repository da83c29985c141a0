import { DigestText } from "@strata/protocol/oci/image";
import { z } from "zod";

/** What `delta-worker` is told as its argument. */
export const DeltaJob = z.object({
  /** Files of the blobs that the delta builds on, in its order. */
  bases: z.array(z.string()),
  digest: DigestText,
  size: z.int().positive(),
});
export type DeltaJob = z.infer<typeof DeltaJob>;
