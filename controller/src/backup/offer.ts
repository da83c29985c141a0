import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { ControllerError } from "../errors.ts";
import { sortBackups } from "./kept.ts";

/** To a database that is damaged: the last backup, and the command that restores it. Other errors pass. */
export function offerBackup(
  error: unknown,
  {
    dataDirectory,
    backupDirectory,
  }: { readonly dataDirectory: string; readonly backupDirectory: string | undefined },
): unknown {
  if (!(error instanceof ControllerError) || error.code !== "DATABASE_CORRUPT") return error;
  const names =
    backupDirectory !== undefined && existsSync(backupDirectory)
      ? readdirSync(backupDirectory)
      : [];
  const [newest] = sortBackups(names);
  if (newest === undefined || backupDirectory === undefined) return error;
  const file = join(backupDirectory, newest);
  const key = newest.endsWith(".age") ? " --identity FILE" : "";
  return new ControllerError("DATABASE_CORRUPT", error.message, {
    cause: error,
    hint: `restore the last backup: strata restore ${file} --data ${dataDirectory}${key}`,
  });
}
