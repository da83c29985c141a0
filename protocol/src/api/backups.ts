/** Backups of an installation, and what a restored one waits for. */
import { z } from "zod";

import { DigestText } from "../oci/image.ts";

/** The format of an archive: another number is not read. */
export const BACKUP_FORMAT = 1;
/** The entry of an archive that says what else is in it; always the first. */
export const BACKUP_MANIFEST = "manifest.json";

const Count = z.int().nonnegative();

/** One file of a backup. */
export const BackupPart = z.object({
  /** Below the data folder, with `/`. */
  path: z.string().max(300),
  sizeBytes: Count,
  digest: DigestText,
});
export type BackupPart = z.infer<typeof BackupPart>;

export const BackupManifest = z.object({
  format: z.literal(BACKUP_FORMAT),
  /** Of the controller that made it. */
  version: z.string().max(50),
  /** Name of the newest migration of its database. */
  schema: z.string().max(100),
  /** RFC 3339. What was acknowledged before is in the backup. */
  createdAt: z.iso.datetime(),
  /** Of the controller's state. */
  epoch: z.string().max(200),
  /** Whether the blobs of the store are in it. */
  blobs: z.enum(["included", "left out", "in a bucket"]),
  /** Blobs that the store's own list has and its folder did not have. */
  blobsMissing: Count,
  /** Rows by table of the controller's database. */
  rows: z.record(z.string().max(100), Count),
  parts: z.array(BackupPart).max(1_000_000),
});
export type BackupManifest = z.infer<typeof BackupManifest>;

export const BackupInput = z.strictObject({
  /** With the blobs of the store: the layers of all images. */
  blobs: z.boolean().default(false),
});

export const BackupFile = z.object({
  file: z.string(),
  sizeBytes: Count,
  createdAt: z.string(),
});
export type BackupFile = z.infer<typeof BackupFile>;

/** The backups that the controller makes by itself. */
export const BackupList = z.object({
  /** Null when there is no schedule. */
  directory: z.string().nullable(),
  everySeconds: Count,
  keep: Count,
  /** How the last try of this life of the controller ended; null before the first. */
  lastTry: z.object({ at: z.string(), problem: z.string().nullable() }).nullable(),
  /** Newest first. */
  items: z.array(BackupFile),
});
export type BackupList = z.infer<typeof BackupList>;

/** What nodes run, or providers have, and a restored controller does not know. */
export const EpochResource = z.object({
  epoch: z.string(),
  /** `restored` decides nothing until somebody confirms it. */
  state: z.enum(["restored", "confirmed"]),
  /** Since when it is so; null when it was never restored. */
  since: z.string().nullable(),
  /** When the backup was made that was restored last. */
  backupAt: z.string().nullable(),
  /** Nodes whose agents still go by another epoch. */
  nodesBehind: z.array(z.string()),
  unknownProcesses: z.array(
    z.object({ nodeId: z.string(), processId: z.string(), state: z.string() }),
  ),
  /** Nodes whose credentials are not known: they joined after the backup, or were deleted. */
  unknownNodes: z.array(z.object({ nodeId: z.string(), lastSeenAt: z.string() })),
  unknownVms: z.array(z.object({ provider: z.string(), id: z.string(), vmId: z.string() })),
});
export type EpochResource = z.infer<typeof EpochResource>;
