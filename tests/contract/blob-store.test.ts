import { createFsBlobStore } from "@strata/registry/drivers/fs-blob-store";
import { createMemoryBlobStore } from "@strata/registry/drivers/memory-blob-store";

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

testBlobStore("fs", fsFixture);
testBlobStoreRestart("fs", fsFixture);

testBlobStore("memory", () =>
  Promise.resolve({
    store: createMemoryBlobStore(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }),
);
