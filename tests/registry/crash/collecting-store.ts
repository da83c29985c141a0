/** The store with a collector that never rests: a program for the crash test. `node … DIR` */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";

import { getRequestListener } from "@hono/node-server";
import { createRegistry } from "@strata/registry/create-registry";
import { createFsBlobStore } from "@strata/registry/drivers/fs-blob-store";
import { createSqliteMetadataStore } from "@strata/registry/drivers/sqlite-metadata-store";

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
await registry.sweepBlobs();
await registry.sweepUploads();
const listener = getRequestListener(registry.app.fetch);
const server = createServer((incoming, outgoing) => void listener(incoming, outgoing));
server.listen(0, "127.0.0.1");
await once(server, "listening");
const address = server.address();
const port = typeof address === "object" ? address?.port : undefined;
process.stdout.write(`listening on http://127.0.0.1:${port}\n`);
for (;;) {
  await registry.collectGarbage({ graceMs: GRACE_MS });
  await delay(5);
}
