import { existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

import Database from "better-sqlite3";
import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { migrate } from "drizzle-orm/better-sqlite3/migrator";
import { readMigrationFiles } from "drizzle-orm/migrator";
import type { BaseSQLiteDatabase } from "drizzle-orm/sqlite-core";

import { ControllerError } from "../errors.ts";

/** What store functions take: the database or a transaction on it. */
export type Sql = BaseSQLiteDatabase<"sync", Database.RunResult>;

export type OpenDatabase = { readonly sql: Sql; readonly close: () => void };

const migrationsFolder = fileURLToPath(new URL("../../migrations", import.meta.url));
const BUSY_TIMEOUT_MS = 5000;

/** Opens the database file (`:memory:` for tests), made and brought up to date as needed.
 * @throws ControllerError DATABASE_NEWER when a later version of this program wrote it: nothing is changed then. */
export function openDatabase(file: string): OpenDatabase {
  if (file !== ":memory:" && !existsSync(dirname(file))) {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  }
  const client = new Database(file, { timeout: BUSY_TIMEOUT_MS });
  client.pragma("journal_mode = WAL");
  // better-sqlite3 is built with NORMAL, which loses acknowledged commits at a power cut.
  client.pragma("synchronous = FULL");
  client.pragma("foreign_keys = ON");
  const database = drizzle(client, { casing: "snake_case" });
  try {
    refuseNewer(database);
    migrate(database, { migrationsFolder });
  } catch (error) {
    client.close();
    throw error;
  }
  return { sql: database, close: () => void client.close() };
}

/** The migrator alone would run on happily with tables that it does not know. */
function refuseNewer(database: Sql): void {
  const known = Math.max(
    ...readMigrationFiles({ migrationsFolder }).map((file) => file.folderMillis),
  );
  const tables = database.all<{ name: string }>(
    sql`select name from sqlite_master where type = 'table' and name = '__drizzle_migrations'`,
  );
  if (tables.length === 0) return;
  const [row] = database.all<{ latest: number | null }>(
    sql`select max(created_at) as latest from __drizzle_migrations`,
  );
  if ((row?.latest ?? 0) <= known) return;
  throw new ControllerError(
    "DATABASE_NEWER",
    "the database was written by a later version of Strata",
    {
      hint: "start the version that wrote it, or restore a backup that this version made",
    },
  );
}
