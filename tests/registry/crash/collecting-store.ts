/** The store with a collector that never rests: a program for the crash test. `node … DIR` */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";

import { createRegistry } from "@strata/registry/create-registry";
import { createFsBlobStore } from "@strata/registry/drivers/fs-blob-store";
import { createSqliteMetadataStore } from "@strata/registry/drivers/sqlite-metadata-store";

import { serve } from "./serve.ts";

/** A few rounds, so that there is garbage all the time; a push that takes longer may be refused, and is never broken. */
const GRACE_MS = 3_000;

const folder = process.argv[2] ?? "";
const registry = createRegistry({
  blobs: await createFsBlobStore(folder),
  metadata: createSqliteMetadataStore(join(folder, "store.db")),
  authorize: () => ({ kind: "allowed", subject: "anyone" }),
  clock: Date.now,
  newId: randomUUID,
  logger: {
    warn: () => undefined,
    error: (fields, message) => console.error(message, fields),
  },
});
await serve(registry);
for (;;) {
  await registry.collectGarbage({ graceMs: GRACE_MS });
  await delay(5);
}
