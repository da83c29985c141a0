import { z } from "zod";

import { readStateFile, replaceFileDurably } from "./durable-file.ts";

/** Who this node is to its controller, kept for root alone. */
export const Identity = z.object({
  version: z.literal(1),
  controllerUrl: z.url(),
  /** The only CA that is trusted; undefined for plain HTTP over loopback. */
  caPem: z.string().optional(),
  nodeId: z.string(),
  name: z.string(),
  partition: z.string(),
  credential: z.string(),
  /** Of the controller's state at the time of the join. */
  epoch: z.string(),
  beatIntervalMs: z.int().positive(),
  /** Where others reach the ports of this node. */
  address: z.string(),
});
export type Identity = z.infer<typeof Identity>;

/** Undefined before the first join.
 * @throws AgentError STATE_UNREADABLE */
export function readIdentity(path: string): Identity | undefined {
  return readStateFile(path, Identity);
}

export async function writeIdentity(path: string, identity: Identity): Promise<void> {
  await replaceFileDurably(path, JSON.stringify(identity));
}
