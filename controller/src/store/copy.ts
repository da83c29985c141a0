/** Copies of the database as files: looked through before anybody relies on one, and made the state of a restore. */
import { getErrorCode } from "@strata/protocol/errors";
import Database from "better-sqlite3";

import { ControllerError } from "../errors.ts";
import { prepareMigration, readSchema } from "./migrations.ts";
import { findLogDamage } from "./write-ahead-log.ts";

export type CopyFacts = {
  readonly epoch: string;
  /** Name of the newest migration. */
  readonly schema: string;
  /** By table. */
  readonly rows: Readonly<Record<string, number>>;
};

/** Reads all of a copy that nobody else has open, and leaves it as one file without companions.
 * @throws ControllerError BACKUP_INVALID when it is damaged or none of Strata's, DATABASE_NEWER */
export function readCopy(file: string): CopyFacts {
  return withCopy(file, (client) => {
    client.pragma("journal_mode = DELETE");
    requireOk(file, client.pragma("integrity_check(1)", { simple: true }));
    const orphans = client.pragma("foreign_key_check");
    requireOk(file, Array.isArray(orphans) && orphans.length === 0 ? "ok" : "rows without owners");
    const schema = readSchema(client);
    const epoch = readMeta(client, "epoch");
    if (schema === undefined || epoch === undefined)
      throw invalid(file, "it is no database of Strata");
    return { epoch, schema, rows: countRows(client) };
  });
}

/** @throws ControllerError DATABASE_NEWER when a later version of this program wrote it */
export function refuseNewerCopy(file: string): void {
  // In memory nothing would be copied before a migration, which is not begun here.
  withCopy(file, (client) => prepareMigration(client, ":memory:"));
}

export type Restoration = {
  /** The new one. */
  readonly epoch: string;
  /** Of whom it takes nodes over, besides the copy's own: what the replaced state was and followed. */
  readonly follows: readonly string[];
  /** RFC 3339: now, and when the backup was made. */
  readonly at: string;
  readonly backupAt: string;
};

/** Revisions of assignments jump so far ahead that no node can have seen one of them. */
const REVISION_LEAP = 1_000_000;
/** As many as the message to agents may name. */
export const FOLLOWS_MAX = 64;

/** Gives a copy a new epoch, to be confirmed before anything is decided from it. Safe to repeat. */
export function turnIntoRestored(file: string, restoration: Restoration): void {
  withCopy(file, (client) => {
    const before = [...readFollows(client), readMeta(client, "epoch") ?? ""];
    const follows = new Set([...restoration.follows, ...before]);
    follows.delete(restoration.epoch);
    const write = client.prepare(
      "insert into meta (key, value) values (?, ?) on conflict (key) do update set value = excluded.value",
    );
    client.transaction(() => {
      write.run("epoch", restoration.epoch);
      write.run("follows", JSON.stringify([...follows].slice(-FOLLOWS_MAX)));
      const { at, backupAt } = restoration;
      write.run("restored", JSON.stringify({ at, backupAt, confirmedAt: null }));
      client
        .prepare("update nodes set assignment_revision = assignment_revision + ?")
        .run(REVISION_LEAP);
    })();
  });
}

/** The epochs that a database has and had; none when it cannot be read. For the state that a restore replaces, which
 * stays as it is. */
export function readEpochs(file: string): readonly string[] {
  if (findLogDamage(file) !== undefined) return [];
  try {
    return withCopy(file, (client) => [...readFollows(client), readMeta(client, "epoch") ?? ""], {
      readonly: true,
    });
  } catch {
    return [];
  }
}

function withCopy<Result>(
  file: string,
  use: (client: Database.Database) => Result,
  options: Database.Options = {},
): Result {
  try {
    const client = new Database(file, { fileMustExist: true, ...options });
    try {
      return use(client);
    } finally {
      client.close();
    }
  } catch (error) {
    const code = getErrorCode(error) ?? "";
    if (!code.startsWith("SQLITE_")) throw error;
    throw invalid(file, "SQLite cannot read it", error);
  }
}

function readMeta(client: Database.Database, key: string): string | undefined {
  const value = client.prepare("select value from meta where key = ?").pluck().get(key);
  return typeof value === "string" ? value : undefined;
}

function readFollows(client: Database.Database): readonly string[] {
  const known: unknown = JSON.parse(readMeta(client, "follows") ?? "[]");
  return Array.isArray(known) ? known.map(String) : [];
}

function countRows(client: Database.Database): Readonly<Record<string, number>> {
  const names = client
    .prepare("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")
    .pluck()
    .all()
    .map(String);
  return Object.fromEntries(
    names.map((name) => {
      const count = client.prepare(`select count(*) from "${name.replaceAll('"', '""')}"`);
      return [name, Number(count.pluck().get())];
    }),
  );
}

function requireOk(file: string, found: unknown): void {
  if (found !== "ok") throw invalid(file, String(found));
}

function invalid(file: string, what: string, cause?: unknown): ControllerError {
  return new ControllerError("BACKUP_INVALID", `${file} is damaged: ${what}`, {
    cause,
    hint: "take another backup",
  });
}
