import { type Digest, parseDigest } from "@strata/protocol/oci/digest";
import type { ManifestFacts, RepositoryFacts, TagFacts } from "@strata/registry/metadata-store";
import { type CollectionRules, planCollection } from "@strata/registry/plan-collection";
import fc from "fast-check";

import { digestOf } from "../support/registry-client.ts";
import { assert, suite } from "../support/suite.ts";

const NOW = 1_000_000;
const GRACE = 1_000;
const OLD = NOW - GRACE;

const digests = Array.from({ length: 10 }, (_, index) => aDigest(`manifest ${index}`));

function aDigest(text: string): Digest {
  return parseDigest(digestOf(Buffer.from(text)));
}

function digestAt(index: number): Digest {
  return digests[index] ?? aDigest(`${index}`);
}

function aManifest(index: number, fields: Partial<ManifestFacts> = {}): ManifestFacts {
  return {
    digest: digestAt(index),
    sizeBytes: 10,
    subject: undefined,
    references: [],
    pushedAt: OLD,
    pulledAt: undefined,
    touchedAt: undefined,
    ...fields,
  };
}

function aTag(name: string, index: number, updatedAt = OLD): TagFacts {
  return { name, digest: digestAt(index), updatedAt };
}

function plan(facts: RepositoryFacts, rules: Partial<CollectionRules> = {}): readonly string[] {
  const { tags, manifests } = planCollection(facts, {
    nowMs: NOW,
    graceMs: GRACE,
    policy: undefined,
    kept: new Set(),
    ...rules,
  });
  return [...tags, ...manifests.map((digest) => String(digests.indexOf(digest)))].toSorted();
}

suite("planCollection", (test) => {
  test("removes what no tag, index or subject holds", () => {
    const manifests = [
      aManifest(0, { references: [digestAt(1)] }),
      aManifest(1),
      aManifest(2, { subject: digestAt(1) }),
      aManifest(3),
      aManifest(4, { subject: digestAt(3) }),
      aManifest(5, { subject: aDigest("never pushed") }),
    ];
    assert.equal(plan({ manifests, tags: [aTag("x", 0)] }), ["3", "4", "5"]);
  });

  test("keeps what was pushed, pulled, touched or moved within the grace", () => {
    const manifests = [
      aManifest(0, { pushedAt: OLD + 1 }),
      aManifest(1, { pulledAt: OLD + 1 }),
      aManifest(2, { touchedAt: OLD + 1 }),
      aManifest(3, { pulledAt: OLD }),
      aManifest(4),
    ];
    const policy = { repositories: ["*"], keepLast: 0 };
    assert.equal(plan({ manifests, tags: [aTag("x", 4, OLD + 1)] }, { policy }), ["3"]);
  });

  test("keeps the tags moved last, those that match, and those of images pulled lately", () => {
    const manifests = [0, 1, 2, 3, 4].map((index) => aManifest(index));
    const pulled = aManifest(3, { pulledAt: NOW - 5_000 });
    const facts = {
      manifests: manifests.with(3, pulled),
      tags: [
        aTag("newest", 0, OLD - 1),
        aTag("newer", 1, OLD - 2),
        aTag("v1.2", 2, OLD - 9_000),
        aTag("pulled", 3, OLD - 9_000),
        aTag("old", 4, OLD - 9_000),
      ],
    };
    const policy = { repositories: ["*"], keepLast: 2, keepTags: ["v?.*"] };
    assert.equal(plan(facts, { policy: { ...policy, keepPulledWithinMs: 5_000 } }), ["4", "old"]);
    assert.equal(plan(facts, { policy }), ["3", "4", "old", "pulled"]);
  });

  test("keeps what runs with its tag, also when the tag names an index of it", () => {
    const manifests = [aManifest(0, { references: [digestAt(1)] }), aManifest(1), aManifest(2)];
    const facts = { manifests, tags: [aTag("runs", 0), aTag("idle", 2)] };
    const policy = { repositories: ["*"], keepLast: 0 };
    assert.equal(plan(facts, { policy, kept: new Set([digestAt(1)]) }), ["2", "idle"]);
    assert.equal(plan({ manifests: facts.manifests, tags: [] }, { kept: new Set([digestAt(1)]) }), [
      "0",
      "2",
    ]);
  });

  test("lets the tags of signatures go and stay with their image, and counts them not among the last", () => {
    const signature = (index: number): string => digestAt(index).replace(":", "-");
    const manifests = [0, 1, 2, 3, 4].map((index) => aManifest(index));
    const facts = {
      manifests,
      tags: [
        aTag("new", 0, OLD - 1),
        aTag("old", 1, OLD - 2),
        aTag(`${signature(0)}.sig`, 2),
        aTag(`${signature(1)}.sig`, 3),
        // A signature of a signature.
        aTag(signature(2), 4),
      ],
    };
    const policy = { repositories: ["*"], keepLast: 1 };
    assert.equal(plan(facts, { policy }), ["1", "3", "old", `${signature(1)}.sig`].toSorted());
    assert.equal(plan(facts), []);
  });

  test("keeps untagged manifests where the policy says so, but not those that it untags", () => {
    const facts = { manifests: [aManifest(0), aManifest(1)], tags: [aTag("x", 0)] };
    const policy = { repositories: ["*"], keepUntagged: true };
    assert.equal(plan(facts, { policy }), []);
    assert.equal(plan(facts, { policy: { ...policy, keepLast: 0 } }), ["0", "x"]);
  });
});

const someFacts = fc
  .record({
    edges: fc.array(fc.tuple(fc.nat(9), fc.nat(9)), { maxLength: 14 }),
    subjects: fc.array(fc.option(fc.nat(9)), { minLength: 10, maxLength: 10 }),
    ages: fc.array(fc.nat(4), { minLength: 10, maxLength: 10 }),
    tags: fc.array(fc.tuple(fc.nat(9), fc.integer({ min: -3_000, max: 0 })), { maxLength: 6 }),
  })
  .map(({ edges, subjects, ages, tags }): RepositoryFacts => ({
    manifests: digests.map((_, index) => {
      const subject = subjects[index] ?? null;
      return aManifest(index, {
        references: edges.filter(([from]) => from === index).map(([, to]) => digestAt(to)),
        subject: subject === null ? undefined : digestAt(subject),
        // One in five is fresh.
        pushedAt: ages[index] === 0 ? NOW : OLD,
      });
    }),
    tags: tags.map(([index, age], number) => aTag(`t${number}`, index, NOW + age)),
  }));

const somePolicy = fc.option(
  fc.record(
    { keepLast: fc.nat(3), keepTags: fc.constant(["t1", "t?2"]), keepUntagged: fc.boolean() },
    { requiredKeys: [] },
  ),
  { nil: undefined },
);

suite("planCollection, whatever the repository", (test) => {
  const rulesFor = (policy: object | undefined, kept: readonly number[]): CollectionRules => ({
    nowMs: NOW,
    graceMs: GRACE,
    policy: policy === undefined ? undefined : { repositories: ["*"], ...policy },
    kept: new Set(kept.map(digestAt)),
  });

  test("leaves nothing without what it needs, and keeps all that is fresh or kept", () => {
    fc.assert(
      fc.property(someFacts, somePolicy, fc.array(fc.nat(9)), (facts, policy, kept) => {
        const rules = rulesFor(policy, kept);
        const removals = planCollection(facts, rules);
        const gone = new Set(removals.manifests);
        const goneTags = new Set(removals.tags);
        for (const manifest of facts.manifests) {
          if (gone.has(manifest.digest)) {
            assert.ok(manifest.pushedAt <= OLD, "fresh");
            assert.not(rules.kept.has(manifest.digest), "kept");
            continue;
          }
          for (const digest of manifest.references) assert.not(gone.has(digest), "child");
        }
        for (const manifest of facts.manifests) {
          const { subject } = manifest;
          if (subject !== undefined && !gone.has(subject)) {
            assert.not(gone.has(manifest.digest), "referrer");
          }
        }
        for (const tag of facts.tags) {
          if (!goneTags.has(tag.name)) assert.not(gone.has(tag.digest), "tagged");
          else assert.ok(tag.updatedAt <= OLD, "fresh tag");
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("leaves nothing for a second turn", () => {
    fc.assert(
      fc.property(someFacts, somePolicy, fc.array(fc.nat(9)), (facts, policy, kept) => {
        const rules = rulesFor({ ...policy, keepUntagged: false }, kept);
        const removals = planCollection(facts, rules);
        const rest = {
          manifests: facts.manifests.filter(({ digest }) => !removals.manifests.includes(digest)),
          tags: facts.tags.filter(({ name }) => !removals.tags.includes(name)),
        };
        assert.equal(planCollection(rest, rules), { tags: [], manifests: [] });
      }),
      { numRuns: 2_000 },
    );
  });

  test("without a policy, removes all that no root reaches", () => {
    fc.assert(
      fc.property(someFacts, (facts) => {
        const removals = planCollection(facts, rulesFor(undefined, []));
        const reached = reachedFrom(facts);
        const expected = facts.manifests.filter(({ digest }) => !reached.has(digest));
        assert.equal(removals.manifests.length, expected.length);
        assert.equal(removals.tags, []);
      }),
      { numRuns: 2_000 },
    );
  });
});

/** Marks by going over all again until nothing changes: slow, and plainly right. */
function reachedFrom({ manifests, tags }: RepositoryFacts): ReadonlySet<Digest> {
  const reached = new Set(tags.map((tag) => tag.digest));
  for (const { digest, pushedAt } of manifests) if (pushedAt > OLD) reached.add(digest);
  for (let before = -1; before !== reached.size;) {
    before = reached.size;
    for (const { digest, references, subject } of manifests) {
      if (subject !== undefined && reached.has(subject)) reached.add(digest);
      if (reached.has(digest)) for (const child of references) reached.add(child);
    }
  }
  return reached;
}
