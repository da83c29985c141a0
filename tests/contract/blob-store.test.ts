import { randomUUID } from "node:crypto";

import { createFsBlobStore } from "@strata/registry/drivers/fs-blob-store";
import { createMemoryBlobStore } from "@strata/registry/drivers/memory-blob-store";
import { createS3BlobStore } from "@strata/registry/drivers/s3-blob-store";

import { s3ServerMissing, theS3Server } from "../support/s3-server.ts";
import { suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { type RestartFixture, testBlobStoreRestart } from "./blob-store-restart.ts";
import { testBlobStore } from "./blob-store.ts";

async function fsFixture(): Promise<RestartFixture> {
  const folder = aTemporaryDirectory();
  return {
    store: await createFsBlobStore(folder.path),
    reopen: () => createFsBlobStore(folder.path),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

async function s3Fixture(): Promise<RestartFixture> {
  const { newLocation, credentials } = await theS3Server();
  const location = newLocation();
  const warnings: string[] = [];
  const logger = { warn: (_: object, message: string) => void warnings.push(message) };
  // So that a blob of a megabyte has several multipart uploads of several parts.
  const limits = { partBytes: 300_000, partsMax: 2 };
  const open = () =>
    createS3BlobStore({ location, credentials, newId: randomUUID, logger, limits });
  return {
    store: await open(),
    reopen: open,
    [Symbol.asyncDispose]: () =>
      warnings.length === 0
        ? Promise.resolve()
        : Promise.reject(new Error(`warnings: ${warnings.join(", ")}`)),
  };
}

testBlobStore("fs", fsFixture);
testBlobStoreRestart("fs", fsFixture);

testBlobStore("memory", () =>
  Promise.resolve({
    store: createMemoryBlobStore(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }),
);

if (s3ServerMissing === undefined) {
  testBlobStore("s3", s3Fixture);
  testBlobStoreRestart("s3", s3Fixture);
} else {
  const reason = s3ServerMissing;
  suite("blob store contract: s3", (test) => test.skip("keeps the contract", reason));
}
