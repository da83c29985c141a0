import { Readable } from "node:stream";

import { BackupInput, BackupList } from "@strata/protocol/api/backups";

import type { OpenBackup } from "../../backup/backups.ts";
import { ControllerError } from "../../errors.ts";
import { answerJson } from "../answer.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

/** A reader that is slower keeps all others waiting. */
const DOWNLOAD_MS_MAX = 12 * 3_600_000;

export function addBackupRoutes(router: Router, services: Services): void {
  const { backups, backupSchedule } = services;
  router.add({
    method: "get",
    path: "/v1/backups",
    access: "admin",
    summary: "Lists the backups that the controller makes by itself.",
    answers: { 200: { description: "All that are kept.", schema: BackupList } },
    handle: async ({ c }) => answerJson(c, await backupSchedule.list()),
  });
  router.add({
    method: "post",
    path: "/v1/backups",
    access: "admin",
    summary: "Makes a backup and sends it. Holds all secrets of the installation: encrypt it.",
    body: BackupInput,
    answers: {
      200: { description: "A tar archive, compressed.", contentType: "application/zstd" },
    },
    handle: async ({ body: { blobs }, c }) => {
      if (blobs && !backups.hasBlobs) {
        throw new ControllerError("INVALID", "the blobs of this store are in a bucket", {
          hint: "leave blobs out, and let the bucket keep versions",
        });
      }
      const signal = AbortSignal.any([c.req.raw.signal, AbortSignal.timeout(DOWNLOAD_MS_MAX)]);
      const backup = await backups.open({ blobs, signal });
      return c.body(Readable.toWeb(sendOnce(services, backup, signal)), 200, {
        "content-type": "application/zstd",
        "cache-control": "no-store",
      });
    },
  });
}

/** The archive, which lets go of its files when it has been sent, or will not be. */
function sendOnce(
  { logger }: Services,
  backup: OpenBackup,
  signal: AbortSignal,
): OpenBackup["archive"] {
  const { archive } = backup;
  const giveUp = (): void => void archive.destroy(new Error("nobody takes the backup any more"));
  archive.once("close", () => {
    signal.removeEventListener("abort", giveUp);
    backup[Symbol.asyncDispose]().catch((err: unknown) =>
      logger.warn({ err }, "the files of a backup were not removed"),
    );
  });
  archive.on("error", (err) => logger.warn({ err }, "a backup was not sent whole"));
  if (signal.aborted) giveUp();
  else signal.addEventListener("abort", giveUp);
  return archive;
}
