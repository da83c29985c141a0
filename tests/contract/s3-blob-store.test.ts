import { randomUUID } from "node:crypto";

import { createS3BlobStore } from "@strata/registry/drivers/s3-blob-store";
import { parseS3Location } from "@strata/registry/drivers/s3/location";

import { s3ServerMissing, theS3Server } from "../support/s3-server.ts";
import { suite } from "../support/suite.ts";
import { type RestartFixture, testBlobStoreRestart } from "./blob-store-restart.ts";
import { testBlobStore } from "./blob-store.ts";

/** The server takes tens of milliseconds for each request, and much more on a busy machine. */
const options = { timeoutMs: 120_000 };

async function s3Fixture(): Promise<RestartFixture> {
  const { newAddress, credentials } = await theS3Server();
  const location = parseS3Location(newAddress());
  const warnings: string[] = [];
  const logger = { warn: (_: object, message: string) => void warnings.push(message) };
  // So that a blob of a megabyte has several multipart uploads of several parts.
  const limits = { partBytes: 300_000, partsMax: 2 };
  const open = () =>
    createS3BlobStore({
      location,
      credentials,
      storeId: "tester",
      newId: randomUUID,
      logger,
      limits,
    });
  return {
    store: await open(),
    reopen: open,
    [Symbol.asyncDispose]: () =>
      warnings.length === 0
        ? Promise.resolve()
        : Promise.reject(new Error(`warnings: ${warnings.join(", ")}`)),
  };
}

if (s3ServerMissing === undefined) {
  testBlobStore("s3", s3Fixture, options);
  testBlobStoreRestart("s3", s3Fixture, options);
} else {
  const reason = s3ServerMissing;
  suite("blob store contract: s3", (test) => test.skip("keeps the contract", reason));
}
