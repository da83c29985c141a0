import { compileGlob } from "./glob.ts";
import type { ManifestFacts, TagFacts } from "./metadata-store.ts";

/** What is kept in some repositories. A tag stays when any of the rules keeps it; without a rule for tags, all tags
 * stay. Whatever the rules, a tag stays that is younger than the grace, or whose image is kept from outside. */
export type RetentionPolicy = {
  /** The repositories that it is for, as patterns with `*` and `?`; `*` also takes slashes. */
  readonly repositories: readonly string[];
  /** The tags that were moved last. */
  readonly keepLast?: number;
  /** Tags that match one of these patterns. */
  readonly keepTags?: readonly string[];
  /** Tags whose image was pulled, or that were moved, within so long. */
  readonly keepPulledWithinMs?: number;
  /** Keep manifests that nothing names [false]. Those that lose their last tag by this policy go all the same. */
  readonly keepUntagged?: boolean;
};

/** The first policy that is for the repository; undefined when none is. */
export function findPolicy(
  policies: readonly RetentionPolicy[],
  repository: string,
): RetentionPolicy | undefined {
  return policies.find(({ repositories }) =>
    repositories.some((pattern) => compileGlob(pattern)(repository)),
  );
}

export type TagChoice = {
  readonly policy: RetentionPolicy;
  readonly nowMs: number;
  readonly findManifest: (tag: TagFacts) => ManifestFacts | undefined;
};

/** The tags that the policy's own rules keep. Pure. */
export function chooseTags(tags: readonly TagFacts[], choice: TagChoice): readonly TagFacts[] {
  const { policy, nowMs, findManifest } = choice;
  const { keepLast, keepTags, keepPulledWithinMs } = policy;
  if (keepLast === undefined && keepTags === undefined && keepPulledWithinMs === undefined) {
    return tags;
  }
  const patterns = (keepTags ?? []).map(compileGlob);
  const wantedSince = nowMs - (keepPulledWithinMs ?? -Infinity);
  return tags
    .toSorted((a, b) => b.updatedAt - a.updatedAt || (a.name < b.name ? -1 : 1))
    .filter(
      (tag, index) =>
        index < (keepLast ?? 0) ||
        patterns.some((matchesPattern) => matchesPattern(tag.name)) ||
        Math.max(tag.updatedAt, findManifest(tag)?.pulledAt ?? 0) >= wantedSince,
    );
}
