import { setImmediate } from "node:timers/promises";

import type { Digest } from "@strata/protocol/oci/digest";

import { createKeyedLock } from "./keyed-lock.ts";
import type { Collected, ManifestIndex, MetadataStore } from "./metadata-store.ts";
import { planCollection } from "./plan-collection.ts";
import type { RecentUses } from "./recent-uses.ts";
import { findPolicy, type RetentionPolicy } from "./retention.ts";
import type { TagMoved } from "./routes/manifests.ts";
import type { StoredBlobs } from "./stored-blobs.ts";

export type CollectGarbage = {
  /** Say what would go, and change nothing [false]. */
  readonly dryRun?: boolean;
  /** What was pushed, mounted, pulled or looked for within this time stays [24 h]. Must be longer than a push may
   * take between its first look and its last manifest. */
  readonly graceMs?: number;
  /** The first that is for a repository counts [none: tags stay, what nothing names goes]. */
  readonly policies?: readonly RetentionPolicy[];
  /** Manifests to keep whatever names them, such as those of processes that run [none]. Asked once for each
   * repository, just before its turn. */
  readonly keep?: (repository: string) => ReadonlySet<Digest> | Promise<ReadonlySet<Digest>>;
  /** Ends it between two repositories. What was collected until then is reported. */
  readonly signal?: AbortSignal;
  /** Told of each repository that is done. */
  readonly onProgress?: (done: { readonly repositories: number }) => void;
};

export type GarbageReport = {
  readonly dryRun: boolean;
  readonly repositories: number;
  readonly tags: number;
  readonly manifests: number;
  /** Blobs taken from one repository; others may still have them. */
  readonly links: number;
  /** Blobs that no repository has any more. */
  readonly blobs: number;
  /** Bytes of those blobs and of the manifests. */
  readonly bytes: number;
  /** The first of what went, by name. */
  readonly removed: readonly RemovedItem[];
  /** Whether `signal` ended it early. */
  readonly aborted: boolean;
};

export type RemovedItem = {
  readonly repository: string;
  readonly kind: "tag" | "manifest" | "blob";
  readonly name: string;
  readonly sizeBytes: number;
};

export type GarbageCollectorOptions = {
  readonly metadata: Pick<MetadataStore, "collect" | "compact" | "listRepositories">;
  readonly storedBlobs: Pick<StoredBlobs, "dropUnknown">;
  readonly uses: Pick<RecentUses, "flush" | "isUsedSince">;
  readonly clock: () => number;
  readonly onTagMoved: (move: TagMoved) => void;
};

const GRACE_MS = 24 * 60 * 60_000;
const REPOSITORIES_PAGE = 500;
/** Items named in a report. */
const NAMED_MAX = 1_000;

/** Collects while clients push, mount, pull and delete. For each repository one atomic step of the metadata decides
 * what goes; then the bytes follow, each after another look under the lock of its digest. A crash in between leaves
 * bytes without a row, for the sweep. One collection at a time: another waits. */
export function createGarbageCollector(
  options: GarbageCollectorOptions,
): (request?: CollectGarbage) => Promise<GarbageReport> {
  const lock = createKeyedLock();
  return (request = {}) => lock("", () => collectGarbage(options, request));
}

async function collectGarbage(
  options: GarbageCollectorOptions,
  request: CollectGarbage,
): Promise<GarbageReport> {
  const tally = createTally(request.dryRun ?? false);
  // Another turn must not see uses as unwritten that a crash could take: after this they are safe.
  await options.uses.flush();
  for await (const repository of listRepositories(options.metadata)) {
    if (request.signal?.aborted === true) return tally.report({ aborted: true });
    const collected = await collectRepository(options, { ...request, repository });
    const unused = tally.add(repository, collected);
    request.onProgress?.({ repositories: tally.repositories() });
    if (tally.dryRun) continue;
    for (const { name, digest: previous } of collected.tags) {
      options.onTagMoved({ repository, tag: name, digest: undefined, previous });
    }
    for (const digest of unused) await options.storedBlobs.dropUnknown(digest);
    // The step was synchronous work; requests have their turn now.
    await setImmediate();
  }
  if (!tally.dryRun) await options.metadata.compact();
  return tally.report({ aborted: false });
}

async function* listRepositories({
  listRepositories: listPage,
}: Pick<ManifestIndex, "listRepositories">): AsyncGenerator<string> {
  let last: string | undefined;
  for (;;) {
    const page = await listPage({ last, limit: REPOSITORIES_PAGE });
    yield* page;
    if (page.length < REPOSITORIES_PAGE) return;
    last = page.at(-1);
  }
}

async function collectRepository(
  { metadata, uses, clock }: GarbageCollectorOptions,
  { repository, dryRun = false, graceMs = GRACE_MS, policies = [], keep }: Turn,
): Promise<Collected> {
  const kept = (await keep?.(repository)) ?? new Set<Digest>();
  const policy = findPolicy(policies, repository);
  const nowMs = clock();
  const since = nowMs - graceMs;
  const isUsed = (digest: Digest): boolean => uses.isUsedSince({ repository, digest }, since);
  return metadata.collect({
    repository,
    plan: (facts) => {
      const manifests = facts.manifests.map((manifest) =>
        isUsed(manifest.digest) ? { ...manifest, pulledAt: nowMs } : manifest,
      );
      return planCollection({ ...facts, manifests }, { nowMs, graceMs, policy, kept });
    },
    linkedUntil: since,
    spares: isUsed,
    dryRun,
  });
}

type Turn = CollectGarbage & { readonly repository: string };

type Tally = {
  readonly dryRun: boolean;
  readonly repositories: () => number;
  /** Gives the blobs that no repository has any more. */
  readonly add: (repository: string, collected: Collected) => readonly Digest[];
  readonly report: (end: { readonly aborted: boolean }) => GarbageReport;
};

function createTally(dryRun: boolean): Tally {
  const sums = { repositories: 0, tags: 0, manifests: 0, links: 0, blobs: 0, bytes: 0 };
  const removed: RemovedItem[] = [];
  /** In a dry run the links stay, so the last one is known only by counting. */
  const taken = new Map<Digest, number>();
  const name = (item: RemovedItem): void => {
    if (removed.length < NAMED_MAX) removed.push(item);
  };
  const isLast = ({ digest, elsewhere }: Collected["links"][number]): boolean => {
    if (!dryRun) return elsewhere === 0;
    const before = taken.get(digest) ?? 0;
    taken.set(digest, before + 1);
    return elsewhere === before;
  };
  return {
    dryRun,
    repositories: () => sums.repositories,
    add: (repository, { tags, manifests, links }) => {
      const unused = links.filter(isLast);
      sums.repositories += 1;
      sums.tags += tags.length;
      sums.manifests += manifests.length;
      sums.links += links.length;
      sums.blobs += unused.length;
      for (const { sizeBytes } of [...manifests, ...unused]) sums.bytes += sizeBytes;
      for (const tag of tags) name({ repository, kind: "tag", name: tag.name, sizeBytes: 0 });
      for (const { digest, sizeBytes } of manifests) {
        name({ repository, kind: "manifest", name: digest, sizeBytes });
      }
      for (const { digest, sizeBytes } of unused) {
        name({ repository, kind: "blob", name: digest, sizeBytes });
      }
      return unused.map(({ digest }) => digest);
    },
    report: ({ aborted }) => ({ dryRun, ...sums, removed, aborted }),
  };
}
