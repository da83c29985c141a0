/** The store with its blobs in a bucket and parts so short that each layer has several: a program for the crash test.
 * `node … DIR s3://…`, with the credentials in the environment. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import process from "node:process";

import { createRegistry } from "@strata/registry/create-registry";
import { createS3BlobStore } from "@strata/registry/drivers/s3-blob-store";
import { parseS3Location } from "@strata/registry/drivers/s3/location";
import { createSqliteMetadataStore } from "@strata/registry/drivers/sqlite-metadata-store";

import { serve } from "../crash/serve.ts";

const [folder = "", address = ""] = process.argv.slice(2);
const logger = {
  warn: () => undefined,
  error: (fields: object, message: string) => console.error(message, fields),
};
const registry = createRegistry({
  blobs: await createS3BlobStore({
    location: parseS3Location(address),
    storeId: "crash-store",
    newId: randomUUID,
    logger,
    limits: { partBytes: 20_000 },
  }),
  metadata: createSqliteMetadataStore(join(folder, "store.db")),
  authorize: () => ({ kind: "allowed", subject: "tester" }),
  clock: Date.now,
  newId: randomUUID,
  logger,
});
await serve(registry);
