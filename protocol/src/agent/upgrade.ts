/** What controller and agent say to each other about another version of the agent. */
import { z } from "zod";

/** The program that the node shall run, as the controller serves it at `/v1/agent/linux-ARCH`. */
export const UpgradeOrder = z.object({
  /** Of this one request: one that was refused may be asked for again. */
  id: z.string().max(64),
  /** SHA-256 of the program, lower-case hex. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type UpgradeOrder = z.infer<typeof UpgradeOrder>;

export const UpgradeReport = z.object({
  /** Of the order. */
  id: z.string().max(64),
  /** `installed`: the wanted program is the one that reports. */
  state: z.enum(["working", "installed", "refused", "rolledBack"]),
  /** Why it was refused or rolled back. */
  reason: z.string().max(2000).optional(),
});
export type UpgradeReport = z.infer<typeof UpgradeReport>;
