/** Which form a database has, and how it comes to the form of this program: forward alone. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import type Database from "better-sqlite3";
import { z } from "zod";

import { ControllerError } from "../errors.ts";
import { VERSION } from "../version.ts";

export const migrationsFolder = fileURLToPath(new URL("../../migrations", import.meta.url));

/** Of `strata.db` as it was before a migration: this many are kept. */
const KEPT_MAX = 3;

/** What drizzle-kit writes beside the migrations; `when` is also the number under which the database knows one. */
const Journal = z.object({ entries: z.array(z.object({ when: z.number(), tag: z.string() })) });

type Migration = z.infer<typeof Journal>["entries"][number];

function knownMigrations(): readonly Migration[] {
  const text = readFileSync(join(migrationsFolder, "meta", "_journal.json"), "utf8");
  return Journal.parse(JSON.parse(text)).entries.toSorted((a, b) => a.when - b.when);
}

/** Name of the newest migration that the database has; undefined for a new one. One that this program does not know
 * is given by its number. */
export function readSchema(client: Database.Database): string | undefined {
  const when = latestMigration(client);
  if (when === undefined) return undefined;
  return knownMigrations().find((known) => known.when === when)?.tag ?? `migration ${when}`;
}

/** Refuses what a later version wrote, which the migrator alone would run on happily. Otherwise, when there is
 * something to migrate in a database that is in use, copies it to `<file>.before-<migration>` first.
 * @throws ControllerError DATABASE_NEWER with nothing changed, BACKUP_FAILED when there is no room for the copy */
export function prepareMigration(client: Database.Database, file: string): void {
  const present = latestMigration(client);
  if (present === undefined) return;
  const known = knownMigrations();
  const newest = known.at(-1);
  if (newest === undefined || present === newest.when) return;
  if (present > newest.when) throw newer(client, file, newest);
  const next = known.find(({ when }) => when > present);
  if (next !== undefined && file !== ":memory:") keepCopy(client, file, next.tag);
}

function latestMigration(client: Database.Database): number | undefined {
  const table = client
    .prepare("select 1 from sqlite_master where type = 'table' and name = '__drizzle_migrations'")
    .get();
  if (table === undefined) return undefined;
  const latest = client.prepare("select max(created_at) from __drizzle_migrations").pluck().get();
  return typeof latest === "number" ? latest : undefined;
}

function newer(client: Database.Database, file: string, newest: Migration): ControllerError {
  const writer = readWriter(client);
  const copies = listCopies(file).map((copy) => basename(copy));
  return new ControllerError(
    "DATABASE_NEWER",
    `${file} was written by Strata ${writer ?? "of a later version"} (${readSchema(client)}); this is ${VERSION} (${newest.tag})`,
    {
      hint: `start ${writer === undefined ? "the later version" : `version ${writer}`} again, or restore a backup that ${VERSION} made: strata restore FILE${
        copies.length === 0 ? "" : `; from before upgrades there are ${copies.join(", ")}`
      }`,
    },
  );
}

function readWriter(client: Database.Database): string | undefined {
  const value = client.prepare("select value from meta where key = 'version'").pluck().get();
  return typeof value === "string" ? value : undefined;
}

/** Whole or not at all, and on the disk before the migration begins. */
function keepCopy(client: Database.Database, file: string, before: string): void {
  const copy = `${file}.before-${before}`;
  const temporary = `${copy}.new`;
  try {
    rmSync(temporary, { force: true });
    client.prepare("vacuum into ?").run(temporary);
    sync(temporary);
    renameSync(temporary, copy);
    sync(dirname(copy));
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw new ControllerError(
      "BACKUP_FAILED",
      `${file} could not be copied before it is brought to a new form`,
      { cause, hint: `make room for a second one in ${dirname(file)} and start again` },
    );
  }
  for (const old of listCopies(file).slice(KEPT_MAX)) rmSync(old, { force: true });
}

/** Newest first: names begin with the number of their migration. */
export function listCopies(file: string): readonly string[] {
  const folder = dirname(file);
  const start = `${basename(file)}.before-`;
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.startsWith(start) && !name.endsWith(".new"))
    .toSorted()
    .toReversed()
    .map((name) => join(folder, name));
}

function sync(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
