/** Makes backups while the controller works, one at a time. */
import { join } from "node:path";
import type { Readable } from "node:stream";

import type { BackupManifest } from "@strata/protocol/api/backups";
import { CodedError, getErrorCode } from "@strata/protocol/errors";

import { ControllerError } from "../errors.ts";
import { packArchive } from "./archive.ts";
import { removeTree } from "./remove-tree.ts";
import { type Sources, stage } from "./stage.ts";

export type BackupRequest = { readonly blobs: boolean; readonly signal: AbortSignal };

/** Its bytes may be read until it is disposed; another backup waits for that. */
export type OpenBackup = {
  readonly manifest: BackupManifest;
  readonly archive: Readable;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

export type Backups = {
  /** Whether the blobs can be a part of a backup. */
  readonly hasBlobs: boolean;
  /** What was acknowledged before the call is in it.
   * @throws ControllerError BACKUP_RUNNING, BACKUP_FAILED */
  readonly open: (request: BackupRequest) => Promise<OpenBackup>;
};

export type BackupsOptions = Sources & { readonly nowMs: () => number };

/** Below the data, where links to blobs can be made; emptied before each use, so that a crash leaves nothing for long. */
const STAGE = "controller/backup-stage";

export function createBackups(options: BackupsOptions): Backups {
  const { dataDirectory, hasBucket, nowMs } = options;
  const folder = join(dataDirectory, STAGE);
  let isBusy = false;
  const close = async (): Promise<void> => {
    await removeTree(folder).finally(() => {
      isBusy = false;
    });
  };
  return {
    hasBlobs: !hasBucket,
    open: async ({ blobs, signal }) => {
      if (isBusy) {
        throw new ControllerError("BACKUP_RUNNING", "a backup is being made already", {
          hint: "wait until it is done, then try again",
        });
      }
      isBusy = true;
      try {
        await removeTree(folder);
        const at = new Date(nowMs()).toISOString();
        const staged = await stage(options, { folder, blobs: blobs && !hasBucket, at, signal });
        const archive = packArchive(staged.manifest, staged.parts);
        return {
          manifest: staged.manifest,
          archive,
          [Symbol.asyncDispose]: async () => {
            archive.destroy();
            await close();
          },
        };
      } catch (error) {
        await close();
        throw error instanceof CodedError ? error : failed(error, folder);
      }
    },
  };
}

/** Of a backup that could not be made, or written. */
export function failed(cause: unknown, place: string): ControllerError {
  const isFull = /^(ENOSPC|EDQUOT|SQLITE_FULL)$/.test(getErrorCode(cause) ?? "");
  return new ControllerError(
    "BACKUP_FAILED",
    isFull
      ? `the backup does not fit: the disk of ${place} is full`
      : `the backup in ${place} could not be made`,
    { cause, hint: isFull ? "make room there, then try again" : "the controller's log says why" },
  );
}
