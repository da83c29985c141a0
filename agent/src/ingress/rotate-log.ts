import { copyFileSync, constants, statSync, truncateSync } from "node:fs";

/** Moves what a log has to `PATH.1` once that is more than half of what both may have. The program that writes it appends
 * and keeps it open: the few lines that it writes between the two steps are lost. */
export function rotateLog(path: string, bytesMax: number): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size === 0 || size <= bytesMax / 2) return;
  // Shares the blocks where the file system can.
  copyFileSync(path, `${path}.1`, constants.COPYFILE_FICLONE);
  truncateSync(path);
}
