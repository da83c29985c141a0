import { createFsBlobStore } from "@strata/registry/drivers/fs-blob-store";
import { createMemoryBlobStore } from "@strata/registry/drivers/memory-blob-store";

import { aTemporaryDirectory } from "../support/temporary.ts";
import { testBlobStore } from "./blob-store.ts";

testBlobStore("fs", async () => {
  const folder = aTemporaryDirectory();
  return {
    store: await createFsBlobStore(folder.path),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
});

testBlobStore("memory", () =>
  Promise.resolve({
    store: createMemoryBlobStore(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }),
);
