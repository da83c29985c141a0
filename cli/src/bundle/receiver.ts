/** What the store that gets a bundle has already. Nothing is written here. */
import type { Digest } from "@strata/protocol/oci/digest";

import { CliError } from "../errors.ts";
import { blobUrl, type StoreClient } from "../store/client.ts";
import { listRepositories } from "../store/list.ts";

export type Receiver = {
  /** A repository that has the blob, `preferred` before all others. */
  readonly findHolder: (digest: Digest, preferred: string) => Promise<string | undefined>;
};

const REPOSITORIES_MAX = 1000;

export function createReceiver(store: StoreClient): Receiver {
  const holders = new Map<Digest, string>();
  let repositories: Promise<readonly string[]> | undefined;

  async function has(repository: string, digest: Digest): Promise<boolean> {
    const { status } = await store.send({ method: "HEAD", path: blobUrl(repository, digest) });
    if (status === 200) holders.set(digest, repository);
    return status === 200;
  }

  return {
    findHolder: async (digest, preferred) => {
      if (await has(preferred, digest)) return preferred;
      const known = holders.get(digest);
      if (known !== undefined) return known;
      repositories ??= listAll(store);
      for (const repository of await repositories) {
        if (repository !== preferred && (await has(repository, digest))) return repository;
      }
      return undefined;
    },
  };
}

/** Registries need not have a catalog: then only the repository itself counts. */
async function listAll(store: StoreClient): Promise<readonly string[]> {
  try {
    return (await listRepositories(store)).slice(0, REPOSITORIES_MAX);
  } catch (error) {
    if (error instanceof CliError && error.code === "REFUSED") return [];
    throw error;
  }
}
