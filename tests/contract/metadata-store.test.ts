import { join } from "node:path";

import { createSqliteMetadataStore } from "@strata/registry/drivers/sqlite-metadata-store";
import Database from "better-sqlite3";

import { assert, suite, throwsWithCode } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { testMetadataStore } from "./metadata-store.ts";

testMetadataStore("sqlite in memory", () => createSqliteMetadataStore(":memory:"));
testMetadataStore("sqlite with its journal", () => {
  const folder = aTemporaryDirectory();
  const store = createSqliteMetadataStore(join(folder.path, "store.db"));
  const close = (): void => {
    store.close();
    // Removes in its first step; the promise is for those who await it.
    void folder[Symbol.asyncDispose]();
  };
  return { ...store, close };
});

suite("sqlite metadata store", (test) => {
  test("keeps what it holds when it is opened again", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "store.db");
    const first = createSqliteMetadataStore(path);
    await first.putUpload({ id: "u", repository: "a", subject: "s", updatedAt: 1 });
    first.close();
    const second = createSqliteMetadataStore(path);
    assert.is((await second.findUpload("u"))?.repository, "a");
    second.close();
  });

  test("refuses a database that another has open", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "store.db");
    const first = createSqliteMetadataStore(path);
    throwsWithCode(() => createSqliteMetadataStore(path, { busyTimeoutMs: 0 }), "INTERNAL");
    first.close();
    createSqliteMetadataStore(path).close();
  });

  test("refuses a database that a newer version wrote", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "store.db");
    createSqliteMetadataStore(path).close();
    const client = new Database(path);
    client
      .prepare("insert into __drizzle_migrations (hash, created_at) values ('later', ?)")
      .run(Number.MAX_SAFE_INTEGER);
    client.close();
    throwsWithCode(() => createSqliteMetadataStore(path), "INTERNAL");
  });
});
