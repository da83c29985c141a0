import type { MetadataStore, StoredManifest } from "./metadata-store.ts";

/** Longer ones are asked for less often than they are long. */
const MANIFEST_BYTES_MAX = 64 * 1024;
/** Of all together; beyond it, those that came first go. */
const CACHE_BYTES_MAX = 4 * 1024 * 1024;
/** What an entry costs beside its body. */
const ENTRY_BYTES = 512;

/** Keeps manifests that were asked for in memory, and forgets all of them with every change to what tags and digests
 * name. All changes must come through the store that this gives. */
export function cacheManifests(metadata: MetadataStore): MetadataStore {
  const cache = createCache();
  return {
    ...metadata,
    findManifest: async (repository, reference) => {
      const key = keyOf(repository, reference);
      const known = cache.get(key);
      if (known !== undefined) return known;
      const generation = cache.generation();
      const found = await metadata.findManifest(repository, reference);
      // Something changed since it was read: it may be just this one.
      if (found !== undefined && generation === cache.generation()) cache.set(key, found);
      return found;
    },
    findManifestDescriptor: async (repository, reference) =>
      cache.get(keyOf(repository, reference)) ??
      metadata.findManifestDescriptor(repository, reference),
    putManifest: (manifest) => cache.change(() => metadata.putManifest(manifest)),
    removeManifest: (repository, digest) =>
      cache.change(() => metadata.removeManifest(repository, digest)),
    removeTag: (repository, tag) => cache.change(() => metadata.removeTag(repository, tag)),
    collect: (request) => cache.change(() => metadata.collect(request)),
  };
}

/** Neither part can have a space. */
function keyOf(repository: string, reference: string): string {
  return `${repository} ${reference}`;
}

type Cache = {
  readonly get: (key: string) => StoredManifest | undefined;
  readonly set: (key: string, manifest: StoredManifest) => void;
  /** Another one after each change. */
  readonly generation: () => number;
  /** Nothing that was found before or during the change is known after it. */
  readonly change: <Result>(body: () => Promise<Result>) => Promise<Result>;
};

function createCache(): Cache {
  const entries = new Map<string, StoredManifest>();
  let bytes = 0;
  let generation = 0;
  const clear = (): void => {
    generation += 1;
    entries.clear();
    bytes = 0;
  };
  const drop = (key: string): void => {
    const entry = entries.get(key);
    if (entry === undefined) return;
    entries.delete(key);
    bytes -= entry.sizeBytes + ENTRY_BYTES;
  };
  return {
    get: (key) => entries.get(key),
    set: (key, manifest) => {
      if (manifest.sizeBytes > MANIFEST_BYTES_MAX) return;
      drop(key);
      entries.set(key, manifest);
      bytes += manifest.sizeBytes + ENTRY_BYTES;
      for (const oldest of entries.keys()) {
        if (bytes <= CACHE_BYTES_MAX) break;
        drop(oldest);
      }
    },
    generation: () => generation,
    change: async (body) => {
      clear();
      try {
        return await body();
      } finally {
        clear();
      }
    },
  };
}
