import { z } from "zod";

import { Name } from "../names.ts";

/** A folder on a node that outlives the processes that use it. */
export const Volume = z.object({
  name: Name,
  tenant: Name,
  /** Null until a process that wants it is placed. */
  node: z.string().nullable(),
  /** `away`: its node is silent, and processes that want it wait. */
  state: z.enum(["unbound", "bound", "away", "deleting"]),
  /** The process that may write; null for a volume that is shared, and while nobody does. */
  holder: z.string().nullable(),
  revision: z.int().positive(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
});
export type Volume = z.infer<typeof Volume>;
