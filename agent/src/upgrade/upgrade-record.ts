import type { Logger } from "pino";
import { z } from "zod";

import { readStateFile, replaceFileDurably } from "../durable-file.ts";

/** How far the last upgrade is, for the next life of the agent.
 * staged      the new program lies beside the present one and is tried at the next start
 * trial       it is being tried; found at a start, the trial was cut off
 * installed, refused, rolledBack  it is over */
export const UpgradeRecord = z.object({
  version: z.literal(1),
  /** Of the order. */
  id: z.string(),
  sha256: z.string(),
  state: z.enum(["staged", "trial", "installed", "refused", "rolledBack"]),
  reason: z.string().optional(),
});
export type UpgradeRecord = z.infer<typeof UpgradeRecord>;

/** Undefined before the first upgrade, and for a damaged record: it ends no upgrade but its own. */
export function readUpgradeRecord(path: string, logger: Logger): UpgradeRecord | undefined {
  try {
    return readStateFile(path, UpgradeRecord);
  } catch (error) {
    logger.error({ err: error }, "the record of the last upgrade is damaged");
    return undefined;
  }
}

export async function writeUpgradeRecord(path: string, record: UpgradeRecord): Promise<void> {
  await replaceFileDurably(path, JSON.stringify(record));
}
