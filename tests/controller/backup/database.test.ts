import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { openDatabase } from "@strata/controller/store/database";
import { lockData } from "@strata/controller/store/lock";
import { listCopies } from "@strata/controller/store/migrations";
import Database from "better-sqlite3";

import { assert, suite, throwsWithCode } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const migrations = fileURLToPath(new URL("../../../controller/migrations", import.meta.url));

type Entries = { readonly entries: readonly { readonly when: number; readonly tag: string }[] };

/** A database as an earlier version left it: with the first of the migrations alone, and one row. */
function anOldDatabase(file: string, count: number): void {
  const journal: Entries = JSON.parse(readFileSync(join(migrations, "meta/_journal.json"), "utf8"));
  const client = new Database(file);
  client.pragma("journal_mode = WAL");
  client.exec(
    "create table __drizzle_migrations (id serial primary key, hash text not null, created_at numeric)",
  );
  for (const { when, tag } of journal.entries.slice(0, count)) {
    client.exec(readFileSync(join(migrations, `${tag}.sql`), "utf8"));
    client
      .prepare("insert into __drizzle_migrations (hash, created_at) values (?, ?)")
      .run(tag, when);
  }
  client.prepare("insert into meta (key, value) values ('epoch', 'of old')").run();
  client.close();
}

function readEpoch(file: string): unknown {
  const client = new Database(file, { readonly: true });
  const epoch = client.prepare("select value from meta where key = 'epoch'").pluck().get();
  client.close();
  return epoch;
}

/** A database with commits in its log, as a killed program leaves it: the files are copied while it is open. */
function aKilledDatabase(folder: string): string {
  mkdirSync(join(folder, "live"));
  const live = join(folder, "live", "strata.db");
  const database = openDatabase(live);
  const client = new Database(live);
  const insert = client.prepare("insert into meta (key, value) values (?, ?)");
  for (let key = 0; key < 200; key += 1) insert.run(`key-${key}`, "v".repeat(200));
  const file = join(folder, "strata.db");
  for (const ending of ["", "-wal", "-shm"]) copyFileSync(live + ending, file + ending);
  client.close();
  database.close();
  return file;
}

suite("the database at the start", (test) => {
  test("is copied before it is brought to a new form, and the last three copies are kept", async () => {
    await using folder = aTemporaryDirectory();
    const file = join(folder.path, "strata.db");
    for (const count of [1, 2, 3, 4]) {
      rmSync(file, { force: true });
      anOldDatabase(file, count);
      openDatabase(file).close();
      assert.is(readEpoch(file), "of old");
    }
    const names = readdirSync(folder.path).filter((name) => name.includes(".before-"));
    assert.equal(
      names.map((name) => name.replace(/_.*/, "")),
      ["strata.db.before-0002", "strata.db.before-0003", "strata.db.before-0004"],
    );
    const [newest = ""] = listCopies(file);
    assert.is(readEpoch(newest), "of old");
    const copy = new Database(newest, { readonly: true });
    assert.is(copy.prepare("select count(*) from __drizzle_migrations").pluck().get(), 4);
    copy.close();
  });

  test("makes no copy when there is nothing to change", async () => {
    await using folder = aTemporaryDirectory();
    const file = join(folder.path, "strata.db");
    openDatabase(file).close();
    openDatabase(file).close();
    assert.equal(listCopies(file), []);
  });

  test("goes on after a kill in the middle of a migration", async () => {
    await using folder = aTemporaryDirectory();
    const file = join(folder.path, "strata.db");
    const program = `
      import { openDatabase } from ${JSON.stringify(new URL("../../../controller/src/store/database.ts", import.meta.url).href)};
      process.stdout.write("begins");
      openDatabase(${JSON.stringify(file)}).close();
      process.stdout.write("ended");`;
    for (let waitMs = 0; waitMs < 12; waitMs += 3) {
      for (const name of readdirSync(folder.path)) rmSync(join(folder.path, name));
      anOldDatabase(file, 1);
      const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const ended = once(child, "exit");
      await once(child.stdout, "data");
      await new Promise((resolve) => void setTimeout(resolve, waitMs));
      child.kill("SIGKILL");
      await ended;
      openDatabase(file).close();
      assert.is(readEpoch(file), "of old");
    }
  });

  test("one that is damaged is refused, and left as it is", async () => {
    await using folder = aTemporaryDirectory();
    const file = join(folder.path, "strata.db");
    const database = openDatabase(file);
    database.close();
    const sound = readFileSync(file);

    writeFileSync(file, Buffer.concat([Buffer.alloc(100, 7), sound.subarray(100)]));
    throwsWithCode(() => openDatabase(file), "DATABASE_CORRUPT");

    const torn = Buffer.from(sound);
    torn.fill(0xab, 4096 * 3, 4096 * 5);
    writeFileSync(file, torn);
    throwsWithCode(() => openDatabase(file), "DATABASE_CORRUPT");
    assert.ok(readFileSync(file).equals(torn));

    writeFileSync(file, sound.subarray(0, 4096 * 4));
    throwsWithCode(() => openDatabase(file), "DATABASE_CORRUPT");

    writeFileSync(file, "something else altogether, as long as a page\n".repeat(100));
    throwsWithCode(() => openDatabase(file), "DATABASE_CORRUPT");

    writeFileSync(file, sound);
    openDatabase(file).close();
  });

  test("a database of another program is refused", async () => {
    await using folder = aTemporaryDirectory();
    const file = join(folder.path, "strata.db");
    const other = new Database(file);
    other.exec("create table songs (name text)");
    other.close();
    throwsWithCode(() => openDatabase(file), "DATABASE_CORRUPT");
  });

  test("commits in the log of a killed program are there; a part of the log that is lost is noticed", async () => {
    await using folder = aTemporaryDirectory();
    const file = aKilledDatabase(folder.path);
    const kept = new Map(["", "-wal", "-shm"].map((end) => [end, readFileSync(file + end)]));
    const putBack = (): void => {
      for (const [ending, bytes] of kept) writeFileSync(file + ending, bytes);
    };
    openDatabase(file).close();
    const client = new Database(file, { readonly: true });
    assert.is(
      client.prepare("select count(*) from meta where key like 'key-%'").pluck().get(),
      200,
    );
    client.close();

    putBack();
    rmSync(`${file}-wal`);
    throwsWithCode(() => openDatabase(file), "DATABASE_CORRUPT");

    putBack();
    truncateSync(`${file}-wal`, Math.floor((kept.get("-wal")?.length ?? 0) / 2));
    throwsWithCode(() => openDatabase(file), "DATABASE_CORRUPT");

    putBack();
    const altered = Buffer.from(kept.get("-wal") ?? "");
    altered[Math.floor(altered.length / 2)] = (altered[Math.floor(altered.length / 2)] ?? 0) ^ 1;
    writeFileSync(`${file}-wal`, altered);
    throwsWithCode(() => openDatabase(file), "DATABASE_CORRUPT");

    // Bytes behind the last commit are what a power cut leaves of one that was never acknowledged.
    putBack();
    writeFileSync(
      `${file}-wal`,
      Buffer.concat([kept.get("-wal") ?? Buffer.of(), Buffer.alloc(2000, 3)]),
    );
    openDatabase(file).close();
    assert.not(existsSync(`${file}-wal`));
  });

  test("a data folder has one owner, and is free again when that ends", async () => {
    await using folder = aTemporaryDirectory();
    const file = join(folder.path, "lock");
    const script = `
      import { lockData } from ${JSON.stringify(new URL("../../../controller/src/store/lock.ts", import.meta.url).href)};
      lockData(${JSON.stringify(file)});
      process.stdout.write("locked");
      setInterval(() => undefined, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(child, "exit");
    await once(child.stdout, "data");
    throwsWithCode(() => lockData(file, { patienceMs: 0 }), "DATA_IN_USE");
    child.kill("SIGKILL");
    await ended;
    lockData(file).close();
  });
});
