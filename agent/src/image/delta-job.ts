import { DigestText } from "@strata/protocol/oci/image";
import { z } from "zod";

/** What `delta-worker` is told as its argument. */
export const DeltaJob = z.object({
  /** Files of the layers that the delta builds on, in its order. */
  bases: z.array(z.string()),
  diffId: DigestText,
  /** Of the archive that it makes. */
  size: z.int().positive(),
});
export type DeltaJob = z.infer<typeof DeltaJob>;
