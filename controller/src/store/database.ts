import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

import { getErrorCode } from "@strata/protocol/errors";
import Database from "better-sqlite3";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { migrate } from "drizzle-orm/better-sqlite3/migrator";
import type { BaseSQLiteDatabase } from "drizzle-orm/sqlite-core";

import { ControllerError } from "../errors.ts";
import { VERSION } from "../version.ts";
import { type KeptTables, openKeptTables } from "./kept-tables.ts";
import { listCopies, migrationsFolder, prepareMigration } from "./migrations.ts";
import { type NetworkChanges, openNetworkChanges } from "./network-changes.ts";
import { findLogDamage } from "./write-ahead-log.ts";

/** What store functions take: the database or a transaction on it. */
export type Sql = BaseSQLiteDatabase<"sync", Database.RunResult> & {
  /** Of the database alone, not of a transaction on it. */
  readonly kept?: KeptTables;
  /** Likewise. */
  readonly networkChanges?: NetworkChanges;
  /** Of a transaction: what it is on. */
  readonly database?: Sql;
};

export type OpenDatabase = {
  readonly sql: Sql;
  /** Copies all of it to a new file, a few pages at a time, while it is used. What was committed before the call is in
   * the copy. @throws SQLITE_FULL when the disk is full */
  readonly copyTo: (file: string) => Promise<void>;
  readonly close: () => void;
};

const BUSY_TIMEOUT_MS = 5000;
/** Looked through at each start: 0.6 s for 500 MB that are in memory. A larger one would keep a start waiting. */
const CHECKED_BYTES_MAX = 1024 ** 3;
/** Pages of a copy in one turn of the event loop: 4 ms at most in a database of 500 MB. */
const COPY_PAGES = 100;

/** Opens the database file (`:memory:` for tests), made and brought up to date as needed.
 * @throws ControllerError DATABASE_NEWER when a later version of this program wrote it, DATABASE_CORRUPT when it is
 * damaged or another program's; BACKUP_FAILED when an older one cannot be kept: nothing is changed then. */
export function openDatabase(file: string): OpenDatabase {
  const isNew = file === ":memory:" || !existsSync(file);
  if (file !== ":memory:" && !existsSync(dirname(file))) {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  }
  const damage = isNew ? undefined : findLogDamage(file);
  if (damage !== undefined) throw corrupt(file, damage);
  const client = new Database(file, { timeout: BUSY_TIMEOUT_MS });
  try {
    if (!isNew) requireSound(client, file);
    client.pragma("journal_mode = WAL");
    // better-sqlite3 is built with NORMAL, which loses acknowledged commits at a power cut.
    client.pragma("synchronous = FULL");
    client.pragma("foreign_keys = ON");
    compileOnce(client);
    const database = drizzle(client, { casing: "snake_case" });
    prepareMigration(client, file);
    migrate(database, { migrationsFolder });
    writeVersion(client);
    return {
      sql: Object.assign(database, {
        kept: openKeptTables(client),
        networkChanges: openNetworkChanges(client),
      }),
      copyTo: async (target) => {
        await client.backup(target, { progress: () => COPY_PAGES });
      },
      close: () => void client.close(),
    };
  } catch (error) {
    client.close();
    const code = getErrorCode(error) ?? "";
    if (!code.startsWith("SQLITE_CORRUPT") && code !== "SQLITE_NOTADB") throw error;
    throw corrupt(file, "SQLite cannot read it", error);
  }
}

/** Distinct texts that are kept; lists of values in some make many. */
const STATEMENTS_MAX = 500;

/** Drizzle has each statement compiled anew each time; the same text gives the same statement from here on. */
function compileOnce(client: Database.Database): void {
  const kept = new Map<string, Database.Statement>();
  const prepare = client.prepare.bind(client);
  const prepareOnce = (text: string): Database.Statement => {
    const known = kept.get(text);
    if (known !== undefined) return known;
    if (kept.size >= STATEMENTS_MAX) kept.clear();
    const statement = prepare(text);
    kept.set(text, statement);
    return statement;
  };
  Object.assign(client, { prepare: prepareOnce });
}

/** @throws ControllerError DATABASE_CORRUPT, SQLITE_NOTADB, SQLITE_CORRUPT */
function requireSound(client: Database.Database, file: string): void {
  if (statSync(file).size <= CHECKED_BYTES_MAX) {
    const found = client.pragma("quick_check(1)", { simple: true });
    if (found !== "ok") throw corrupt(file, String(found));
  }
  const names = client.prepare("select name from sqlite_master where type = 'table'").pluck().all();
  if (names.length > 0 && !names.includes("__drizzle_migrations"))
    throw corrupt(file, "it is a database, but none of Strata's");
}

function corrupt(file: string, what: string, cause?: unknown): ControllerError {
  const [copy] = listCopies(file);
  return new ControllerError("DATABASE_CORRUPT", `${file} is damaged: ${what}`, {
    cause,
    hint: `restore the last backup: strata restore FILE; the damaged one is kept${
      copy === undefined ? "" : `. ${copy} is from before the last upgrade`
    }`,
  });
}

/** For the message of an earlier version that finds this database. */
function writeVersion(client: Database.Database): void {
  client
    .prepare(
      `insert into meta (key, value) values ('version', ?)
       on conflict (key) do update set value = excluded.value where value <> excluded.value`,
    )
    .run(VERSION);
}
