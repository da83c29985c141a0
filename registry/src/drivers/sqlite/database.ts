import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { getErrorCode } from "@strata/protocol/errors";
import Database from "better-sqlite3";
import { type BetterSQLite3Database, drizzle } from "drizzle-orm/better-sqlite3";
import { migrate } from "drizzle-orm/better-sqlite3/migrator";

import { RegistryError } from "../../errors.ts";

export type RegistryDatabase = BetterSQLite3Database;
/** What a statement can run on: the database, or a transaction of it. */
export type Transaction = Parameters<Parameters<RegistryDatabase["transaction"]>[0]>[0];

const migrationsFolder = fileURLToPath(new URL("./migrations/", import.meta.url));
/** How long to wait for a process that is on its way out. */
const BUSY_TIMEOUT_MS = 5_000;
/** Pages of a copy in one turn of the event loop. */
const COPY_PAGES = 100;

/** Opens the database, brings it to this version's schema, and sees that a commit survives a power cut.
 * @throws RegistryError INTERNAL when a newer version wrote it, another process has it open, or it is damaged */
export function openDatabase(
  path: string,
  { busyTimeoutMs = BUSY_TIMEOUT_MS }: { readonly busyTimeoutMs?: number } = {},
): {
  readonly database: RegistryDatabase;
  readonly copyTo: (file: string) => Promise<void>;
  readonly close: () => void;
} {
  const client = new Database(path, { timeout: busyTimeoutMs });
  try {
    // Two owners would take each other's uploads for what a crash left. The kernel ends the lock with the process.
    client.pragma("locking_mode = EXCLUSIVE");
    client.pragma("journal_mode = WAL");
    // better-sqlite3 is built with NORMAL, which loses acknowledged commits when the power goes.
    client.pragma("synchronous = FULL");
    client.pragma("foreign_keys = ON");
    const database = drizzle(client, { casing: "snake_case" });
    refuseNewer(client, path);
    migrate(database, { migrationsFolder });
    return {
      database,
      copyTo: async (file) => {
        await client.backup(file, { progress: () => COPY_PAGES });
      },
      close: () => client.close(),
    };
  } catch (error) {
    client.close();
    const code = getErrorCode(error) ?? "";
    if (code.startsWith("SQLITE_CORRUPT") || code === "SQLITE_NOTADB") {
      throw new RegistryError("INTERNAL", `${path} is damaged`, {
        cause: error,
        hint: "stop the store and run `strata store fsck`: it makes the file anew from the journal",
      });
    }
    if (!code.startsWith("SQLITE_BUSY")) throw error;
    throw new RegistryError("INTERNAL", `${path} is in use by another process`, {
      cause: error,
      hint: "stop the other one, or give this one a data folder of its own",
    });
  }
}

function refuseNewer(client: Database.Database, path: string): void {
  const table = client
    .prepare("select 1 from sqlite_master where type = 'table' and name = '__drizzle_migrations'")
    .get();
  if (table === undefined) return;
  const applied: unknown = client
    .prepare("select max(created_at) from __drizzle_migrations")
    .pluck()
    .get();
  if (typeof applied === "number" && applied > newestMigration()) {
    throw new RegistryError("INTERNAL", `${path} was written by a newer version`, {
      hint: "start the newer version again, or restore a backup made by this one",
    });
  }
}

function newestMigration(): number {
  const journal: unknown = JSON.parse(
    readFileSync(join(migrationsFolder, "meta/_journal.json"), "utf8"),
  );
  return parseNewest(journal);
}

function parseNewest(journal: unknown): number {
  // drizzle-kit writes this file and it is checked in: a wrong shape is a mistake of ours.
  const { entries } = journal as { readonly entries: readonly { readonly when: number }[] };
  return Math.max(...entries.map((entry) => entry.when));
}
