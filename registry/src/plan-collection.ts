import { type Digest, isDigest } from "@strata/protocol/oci/digest";

import type { ManifestFacts, Removals, RepositoryFacts, TagFacts } from "./metadata-store.ts";
import { chooseTags, type RetentionPolicy } from "./retention.ts";

export type CollectionRules = {
  readonly nowMs: number;
  /** What was pushed, moved, pulled or looked for within this time stays. */
  readonly graceMs: number;
  readonly policy: RetentionPolicy | undefined;
  /** Manifests that are kept from outside, such as those of processes that run. */
  readonly kept: ReadonlySet<Digest>;
};

/** Says which tags and manifests of a repository may go. What is kept keeps its children and its referrers.
 * Pure: the same facts and rules give the same removals. */
export function planCollection(facts: RepositoryFacts, rules: CollectionRules): Removals {
  const graph = createGraph(facts);
  const isFresh = (at: number | undefined): boolean =>
    at !== undefined && at > rules.nowMs - rules.graceMs;
  const tags = sortTags(facts.tags);
  const chosen = new Set(
    rules.policy === undefined
      ? facts.tags
      : [
          ...chooseTags(tags.ordinary, {
            policy: rules.policy,
            nowMs: rules.nowMs,
            findManifest: (tag) => graph.manifests.get(tag.digest),
          }),
          // Without a rule that takes tags away, those of signatures stay as well.
          ...(takesTags(rules.policy) ? [] : tags.referring),
        ],
  );
  const keepsTag = (tag: TagFacts): boolean =>
    chosen.has(tag) || isFresh(tag.updatedAt) || graph.leadsTo(tag.digest, rules.kept);
  const keptTags = new Set(facts.tags.filter(keepsTag));

  const tagged = new Set(facts.tags.map((tag) => tag.digest));
  const live = graph.reach([
    ...[...keptTags].map((tag) => tag.digest),
    ...rules.kept,
    ...facts.manifests
      .filter(
        (manifest) =>
          [manifest.pushedAt, manifest.pulledAt, manifest.touchedAt].some(isFresh) ||
          (rules.policy?.keepUntagged === true && !tagged.has(manifest.digest)),
      )
      .map((manifest) => manifest.digest),
  ]);
  keepReferringTags(tags.referring, { graph, live, keptTags });
  return {
    tags: facts.tags.filter((tag) => !keptTags.has(tag)).map((tag) => tag.name),
    manifests: facts.manifests
      .map((manifest) => manifest.digest)
      .filter((digest) => !live.has(digest)),
  };
}

function takesTags(policy: RetentionPolicy): boolean {
  return [policy.keepLast, policy.keepTags, policy.keepPulledWithinMs].some(
    (rule) => rule !== undefined,
  );
}

type Graph = {
  readonly manifests: ReadonlyMap<Digest, ManifestFacts>;
  /** All that is reached from these through children and referrers. */
  readonly reach: (roots: Iterable<Digest>) => Set<Digest>;
  /** Whether the manifest or one of its descendants is among the targets. */
  readonly leadsTo: (from: Digest, targets: ReadonlySet<Digest>) => boolean;
};

function createGraph({ manifests: list }: RepositoryFacts): Graph {
  const manifests = new Map(list.map((manifest) => [manifest.digest, manifest]));
  const referrers = Map.groupBy(list, (manifest) => manifest.subject);
  const childrenOf = (manifest: ManifestFacts): readonly Digest[] => manifest.references;
  const dependentsOf = (manifest: ManifestFacts): readonly Digest[] => [
    ...manifest.references,
    ...(referrers.get(manifest.digest) ?? []).map((referrer) => referrer.digest),
  ];
  const walk = (
    roots: Iterable<Digest>,
    next: (manifest: ManifestFacts) => readonly Digest[],
  ): Set<Digest> => {
    const seen = new Set<Digest>();
    const waiting = [...roots];
    for (let digest = waiting.pop(); digest !== undefined; digest = waiting.pop()) {
      const manifest = manifests.get(digest);
      if (manifest === undefined || seen.has(digest)) continue;
      seen.add(digest);
      waiting.push(...next(manifest));
    }
    return seen;
  };
  return {
    manifests,
    reach: (roots) => walk(roots, dependentsOf),
    leadsTo: (from, targets) =>
      targets.size > 0 && [...walk([from], childrenOf)].some((digest) => targets.has(digest)),
  };
}

type SortedTags = {
  readonly ordinary: readonly TagFacts[];
  readonly referring: readonly TagFacts[];
};

/** Signatures by the tag scheme (`sha256-<hex>`, `sha256-<hex>.sig`) go and stay with the image that they are for. */
function sortTags(tags: readonly TagFacts[]): SortedTags {
  const sorted = Object.groupBy(tags, (tag) =>
    subjectOfTag(tag.name) === undefined ? "ordinary" : "referring",
  );
  return { ordinary: sorted.ordinary ?? [], referring: sorted.referring ?? [] };
}

/** distribution-spec v1.1, "Referrers Tag Schema"; cosign adds an ending. */
function subjectOfTag(name: string): Digest | undefined {
  const match = /^(sha256|sha512)-([0-9a-f]+)(?:\.[a-z]+)?$/.exec(name);
  if (match === null) return undefined;
  const digest = `${match[1]}:${match[2]}`;
  return isDigest(digest) ? digest : undefined;
}

type Marking = {
  readonly graph: Graph;
  readonly live: Set<Digest>;
  readonly keptTags: Set<TagFacts>;
};

/** Adds the tags whose subject lives, and what they keep alive; there may be signatures of signatures. */
function keepReferringTags(
  referring: readonly TagFacts[],
  { graph, live, keptTags }: Marking,
): void {
  let waiting = referring.filter((tag) => !keptTags.has(tag));
  for (;;) {
    const found = waiting.filter((tag) => {
      const subject = subjectOfTag(tag.name);
      return subject !== undefined && live.has(subject);
    });
    if (found.length === 0) return;
    for (const tag of found) keptTags.add(tag);
    for (const digest of graph.reach(found.map((tag) => tag.digest))) live.add(digest);
    waiting = waiting.filter((tag) => !keptTags.has(tag));
  }
}
