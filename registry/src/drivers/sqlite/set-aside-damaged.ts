import { existsSync, renameSync } from "node:fs";

import { getErrorCode } from "@strata/protocol/errors";
import Database from "better-sqlite3";

/** What SQLite may keep beside a database. */
const companions = ["-wal", "-shm", "-journal"];

/** Gives a database that SQLite cannot read whole another name, so that a new one is made in its place. Gives that
 * name; undefined when there was nothing to do. @throws SQLITE_BUSY when another process has it open */
export function setAsideDamaged(path: string): string | undefined {
  if (!existsSync(path) || isWhole(path)) return undefined;
  const kept = `${path}.damaged`;
  for (const ending of ["", ...companions]) {
    if (existsSync(path + ending)) renameSync(path + ending, kept + ending);
  }
  return kept;
}

/** Whether SQLite reads all of it. @throws SQLITE_BUSY when another process has it open */
export function isWhole(path: string): boolean {
  try {
    const client = new Database(path);
    try {
      return client.pragma("integrity_check", { simple: true }) === "ok";
    } finally {
      client.close();
    }
  } catch (error) {
    const code = getErrorCode(error) ?? "";
    if (code.startsWith("SQLITE_CORRUPT") || code === "SQLITE_NOTADB") return false;
    throw error;
  }
}
