import type { Digest } from "@strata/protocol/oci/digest";

import type { BlobUse, GarbageIndex, UseRecord } from "./metadata-store.ts";

/** What clients asked for lately. A commit for every pull would cost more than the pull, so uses gather here and
 * are written together; a crash forgets those of the last minute. */
export type RecentUses = {
  /** Somebody reads the manifest. */
  readonly pulled: (repository: string, digest: Digest) => void;
  /** Somebody asks whether the manifest is there, and may build on the answer; or a tag left it. */
  readonly touched: (repository: string, digest: Digest) => void;
  /** Somebody asks whether the blob is there. */
  readonly blobTouched: (repository: string, digest: Digest) => void;
  /** Whether there was a use after `since` that is not written yet. */
  readonly isUsedSince: (place: Place, since: number) => boolean;
  /** Never rejects: what could not be written is told to `onError`, and stays to be found and written later. */
  readonly flush: () => Promise<void>;
};

export type Place = { readonly repository: string; readonly digest: Digest };

type Use = {
  readonly pulledAt: number | undefined;
  readonly touchedAt: number | undefined;
  readonly blobAt: number | undefined;
};

export type RecentUsesOptions = {
  readonly metadata: Pick<GarbageIndex, "recordUses">;
  readonly clock: () => number;
  /** Told when uses could not be written. */
  readonly onError: (error: unknown) => void;
};

const FLUSH_AFTER_MS = 60_000;
/** With so many gathered it is time earlier; but a full disk must not be tried at every request. */
const ENTRIES_MAX = 10_000;
const FULL_FLUSH_AFTER_MS = 1_000;
/** More than this are forgotten when they cannot be written. */
const KEPT_MAX = 100_000;

type Entry = Use & Place;

export function createRecentUses(options: RecentUsesOptions): RecentUses {
  const { metadata, clock, onError } = options;
  let entries = new Map<string, Entry>();
  /** On their way to the metadata. */
  let leaving = new Map<string, Entry>();
  let leave: Promise<void> | undefined;
  let flushedAt = clock();
  const write = async (): Promise<void> => {
    [leaving, entries] = [entries, new Map<string, Entry>()];
    flushedAt = clock();
    try {
      await metadata.recordUses(toRecord([...leaving.values()]));
    } catch (error) {
      if (leaving.size < KEPT_MAX) entries = new Map([...leaving, ...entries]);
      onError(error);
    } finally {
      leaving = new Map<string, Entry>();
      leave = undefined;
    }
  };
  const flush = (): Promise<void> =>
    entries.size === 0 ? (leave ?? Promise.resolve()) : (leave ??= write());
  const note = (place: Place, use: Partial<Use>): void => {
    const key = keyOf(place);
    entries.set(key, { ...unused, ...entries.get(key), ...place, ...use });
    const dueMs = entries.size < ENTRIES_MAX ? FLUSH_AFTER_MS : FULL_FLUSH_AFTER_MS;
    if (clock() - flushedAt > dueMs) void flush();
  };
  return {
    pulled: (repository, digest) => note({ repository, digest }, { pulledAt: clock() }),
    touched: (repository, digest) => note({ repository, digest }, { touchedAt: clock() }),
    blobTouched: (repository, digest) => note({ repository, digest }, { blobAt: clock() }),
    isUsedSince: (place, since) =>
      [entries, leaving].some((map) => latestUse(map.get(keyOf(place))) > since),
    flush,
  };
}

const unused: Use = { pulledAt: undefined, touchedAt: undefined, blobAt: undefined };

function latestUse(use: Use | undefined): number {
  return Math.max(use?.pulledAt ?? -1, use?.touchedAt ?? -1, use?.blobAt ?? -1);
}

function keyOf({ repository, digest }: Place): string {
  return `${repository}@${digest}`;
}

function toRecord(entries: readonly Entry[]): UseRecord {
  return {
    blobs: entries.flatMap(({ repository, digest, blobAt }): readonly BlobUse[] =>
      blobAt === undefined ? [] : [{ repository, digest, at: blobAt }],
    ),
    manifests: entries.filter(
      ({ pulledAt, touchedAt }) => pulledAt !== undefined || touchedAt !== undefined,
    ),
  };
}
