/** What controller and agent say to each other about named volumes. */
import { z } from "zod";

import { Name } from "../names.ts";

/** By volume: grows with each process that may write to it. An agent that has seen a higher one starts nothing that
 * would write. */
export const VolumeFences = z.record(Name, z.int().nonnegative());

/** The folders of volumes that shall be, or have been, removed. */
export const VolumeNames = z.array(z.object({ tenant: Name, name: Name })).max(1000);
export type VolumeName = z.infer<typeof VolumeNames>[number];
