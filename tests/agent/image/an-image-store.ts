import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import {
  createImageStore,
  type EnsureOptions,
  type ImageStore,
  type ImageStoreOptions,
  type ReadyImage,
} from "@strata/agent/image/image-store";
import { createRegistryClient } from "@strata/agent/image/registry-client";
import { digestAlgorithm, digestHex, parseDigest } from "@strata/protocol/oci/digest";
import { Agent } from "undici";

import { aTemporaryDirectory } from "../../support/temporary.ts";

/** Quick to give up: tests have no patience. */
const hastyRetry = { attemptsMax: 3, delayMs: 1, delayMaxMs: 2 };

export type TestStore = AsyncDisposable & {
  readonly store: ImageStore;
  readonly directory: string;
  readonly pull: (digest: string, options?: Partial<EnsureOptions>) => Promise<ReadyImage>;
  /** Layers that have a name, and what is still half done. */
  readonly layers: () => readonly string[];
  readonly incoming: () => readonly string[];
};

const workerEntry = {
  file: process.execPath,
  args: [fileURLToPath(new URL("worker-entry.ts", import.meta.url))],
};

/** An image store that pulls the repository `app` from a registry; in a folder of its own, unless `directory` names that
 * of another one, as a later life of the agent would open it. */
export function anImageStore(url: string, options: Partial<ImageStoreOptions> = {}): TestStore {
  // Whoever names a folder may be killed, and would leave one of its own behind.
  const folder = options.directory === undefined ? aTemporaryDirectory() : undefined;
  const directory = options.directory ?? join(folder?.path ?? "", "images");
  const dispatcher = new Agent();
  const store = createImageStore({
    directory,
    client: createRegistryClient({ dispatcher, baseUrl: new URL(url), retry: hastyRetry }),
    clock: () => 0,
    logger: { info: () => undefined, warn: () => undefined },
    runner: workerEntry,
    architecture: "amd64",
    // The disk is shared with everything else that is tested; one test syncs it.
    sync: () => Promise.resolve(),
    ...options,
  });
  return {
    store,
    directory,
    pull: (digest, ensureOptions = {}) =>
      store.ensure(
        { repository: "app", digest: parseDigest(digest) },
        { signal: new AbortController().signal, ...ensureOptions },
      ),
    layers: () => list(join(directory, "layers", "sha256")),
    incoming: () => list(join(directory, "incoming")),
    [Symbol.asyncDispose]: async () => {
      await dispatcher.destroy();
      await folder?.[Symbol.asyncDispose]();
    },
  };
}

function list(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Where the store keeps the files of a layer. */
export function layerPath(directory: string, diffId: string): string {
  const digest = parseDigest(diffId);
  return join(directory, "layers", digestAlgorithm(digest), digestHex(digest), "fs");
}
