/** What every metadata store must do. A driver's test calls it with a way to make an empty store. */
import { parseDigest } from "@strata/protocol/oci/digest";
import type { MetadataStore, PutManifest } from "@strata/registry/metadata-store";

import { digestOf } from "../support/registry-client.ts";
import { assert, suite } from "../support/suite.ts";

export function testMetadataStore(name: string, make: () => MetadataStore): void {
  suite(`metadata store contract: ${name}`, (test) => {
    for (const { title, body } of [
      ...blobCases,
      ...uploadCases,
      ...manifestCases,
      ...garbageCases,
    ]) {
      test(title, async () => {
        const store = make();
        try {
          await body(store);
        } finally {
          store.close();
        }
      });
    }
  });
}

type Case = { readonly title: string; readonly body: (store: MetadataStore) => Promise<void> };

const digest = parseDigest(digestOf(Buffer.from("blob")));
const other = parseDigest(digestOf(Buffer.from("other")));

const putBlob = (store: MetadataStore, repository: string, name = digest): Promise<void> =>
  store.putBlob({ repository, digest: name, sizeBytes: 4, uploadId: undefined, at: 1 });

function aManifest(text: string, fields: Partial<PutManifest> = {}): PutManifest {
  const body = Buffer.from(text);
  return {
    repository: "a",
    digest: parseDigest(digestOf(body)),
    mediaType: "application/json",
    sizeBytes: body.length,
    body,
    references: [],
    subject: undefined,
    artifactType: undefined,
    referrer: undefined,
    tags: [],
    at: 1,
    ...fields,
  };
}

const needs = (sizeBytes: number, required = true): Pick<PutManifest, "references"> => ({
  references: [{ digest, sizeBytes, kind: "blob", required }],
});

const blobCases: readonly Case[] = [
  {
    title: "shows a blob in the repositories that have it, and nowhere else",
    body: async (store) => {
      await putBlob(store, "a");
      await putBlob(store, "a");
      assert.is(await store.findBlob("a", digest), 4);
      assert.is(await store.findBlob("b", digest), undefined);
      assert.is(await store.hasBlob(digest), true);
      assert.is(await store.hasBlob(other), false);
    },
  },
  {
    title: "mounts only what the source has",
    body: async (store) => {
      await putBlob(store, "a");
      const mount = { from: "a", repository: "b", digest, at: 2 };
      assert.is(await store.mountBlob({ ...mount, from: "c" }), false);
      assert.is(await store.findBlob("b", digest), undefined);
      assert.is(await store.mountBlob(mount), true);
      assert.is(await store.findBlob("b", digest), 4);
      assert.equal((await store.listRepositoriesWithBlob(digest, 10)).toSorted(), ["a", "b"]);
      assert.is((await store.listRepositoriesWithBlob(digest, 1)).length, 1);
    },
  },
  {
    title: "says of a removed blob whether others still have it",
    body: async (store) => {
      await putBlob(store, "a");
      await putBlob(store, "b");
      assert.is(await store.removeBlob("c", digest), "absent");
      assert.is(await store.removeBlob("a", digest), "unlinked");
      assert.is(await store.removeBlob("a", digest), "absent");
      assert.is(await store.removeBlob("b", digest), "unused");
      assert.is(await store.hasBlob(digest), false);
    },
  },
  {
    title: "does not remove a blob that a manifest of the repository needs",
    body: async (store) => {
      await putBlob(store, "a");
      await putBlob(store, "b");
      const manifest = aManifest("needs the blob", needs(4));
      await store.putManifest(manifest);
      assert.is(await store.removeBlob("a", digest), "referenced");
      assert.is(await store.removeBlob("b", digest), "unlinked");
      await store.removeManifest("a", manifest.digest);
      assert.is(await store.removeBlob("a", digest), "unused");
    },
  },
  {
    title: "hides a forgotten blob from all, and brings it back to all when it is put again",
    body: async (store) => {
      await putBlob(store, "a");
      await putBlob(store, "b");
      await store.forgetBlob(digest);
      assert.is(await store.findBlob("a", digest), undefined);
      assert.is(await store.mountBlob({ from: "a", repository: "c", digest, at: 2 }), false);
      assert.equal(await store.listRepositoriesWithBlob(digest, 10), []);
      await putBlob(store, "b");
      assert.is(await store.findBlob("a", digest), 4);
    },
  },
];

const uploadCases: readonly Case[] = [
  {
    title: "remembers an upload until it is removed or its blob is put",
    body: async (store) => {
      const upload = { id: "u1", repository: "a", subject: "s", updatedAt: 5 };
      await store.putUpload(upload);
      await store.putUpload({ ...upload, id: "u2" });
      assert.equal(await store.findUpload("u1"), upload);
      assert.is(await store.countUploads("s"), 2);
      assert.is(await store.countUploads("t"), 0);
      await store.removeUpload("u1");
      await store.removeUpload("u1");
      assert.is(await store.findUpload("u1"), undefined);
      await store.putBlob({ repository: "a", digest, sizeBytes: 4, uploadId: "u2", at: 6 });
      assert.is(await store.countUploads("s"), 0);
    },
  },
  {
    title: "lists the uploads that nobody touched",
    body: async (store) => {
      for (const [id, updatedAt] of [
        ["u1", 10],
        ["u2", 20],
        ["u3", 30],
      ] as const) {
        await store.putUpload({ id, repository: "a", subject: "s", updatedAt });
      }
      await store.touchUpload("u1", 40);
      assert.equal(await store.listUploadsBefore(30, 10), ["u2"]);
      assert.equal((await store.listUploadsBefore(50, 10)).toSorted(), ["u1", "u2", "u3"]);
      assert.is((await store.listUploadsBefore(50, 2)).length, 2);
    },
  },
];

const manifestCases: readonly Case[] = [
  {
    title: "finds a manifest by digest and by tag, with and without its body",
    body: async (store) => {
      const manifest = aManifest("one", { tags: ["x", "y"] });
      await store.putManifest(manifest);
      for (const reference of [manifest.digest, "x", "y"]) {
        const found = await store.findManifest("a", reference);
        assert.is(found?.digest, manifest.digest);
        assert.is(found?.body.toString(), "one");
        assert.equal(await store.findManifestDescriptor("a", reference), {
          digest: manifest.digest,
          mediaType: "application/json",
          sizeBytes: 3,
        });
      }
      assert.is(await store.findManifest("b", manifest.digest), undefined);
      assert.is(await store.findManifest("a", "z"), undefined);
    },
  },
  {
    title: "moves a tag at once and says from where",
    body: async (store) => {
      const [one, two] = [
        aManifest("one", { tags: ["x"] }),
        aManifest("two", { tags: ["x", "y"] }),
      ];
      assert.equal(await store.putManifest(one), {
        kind: "stored",
        moves: [{ tag: "x", previous: undefined }],
      });
      assert.equal(await store.putManifest(two), {
        kind: "stored",
        moves: [
          { tag: "x", previous: one.digest },
          { tag: "y", previous: undefined },
        ],
      });
      assert.is((await store.findManifest("a", "x"))?.digest, two.digest);
      assert.is((await store.findManifest("a", one.digest))?.digest, one.digest);
    },
  },
  {
    title: "keeps the tags of a manifest that is pushed again",
    body: async (store) => {
      await store.putManifest(aManifest("one", { tags: ["x"] }));
      await store.putManifest(aManifest("one"));
      assert.equal(await store.listTags("a", { last: undefined, limit: 10 }), ["x"]);
    },
  },
  {
    title: "lists the tags that were moved last first",
    body: async (store) => {
      assert.equal(await store.listNewestTags("a", 10), []);
      const one = aManifest("one", { tags: ["x", "w"], at: 1 });
      const two = aManifest("two", { tags: ["y"], at: 2 });
      await store.putManifest(one);
      await store.putManifest(two);
      const newest = { name: "y", digest: two.digest, updatedAt: 2 };
      assert.equal(await store.listNewestTags("a", 1), [newest]);
      await store.putManifest(aManifest("one", { tags: ["x"], at: 3 }));
      const names = (await store.listNewestTags("a", 10)).map(({ name }) => name);
      assert.equal(names, ["x", "y", "w"]);
    },
  },
  {
    title: "stores nothing when a reference is missing or has another size",
    body: async (store) => {
      const manifest = aManifest("one", { ...needs(4), tags: ["x"] });
      assert.equal(await store.putManifest(manifest), { kind: "missing", digests: [digest] });
      await putBlob(store, "b");
      assert.is(
        (await store.putManifest(manifest)).kind,
        "missing",
        "another repository's is not ours",
      );
      await putBlob(store, "a");
      assert.equal(await store.putManifest({ ...manifest, ...needs(5) }), {
        kind: "size-mismatch",
        digest,
        storedBytes: 4,
      });
      assert.is(await store.findManifest("a", "x"), undefined);
      assert.is((await store.putManifest(manifest)).kind, "stored");
    },
  },
  {
    title:
      "stores a manifest whose absent reference is not required, and a child that is a manifest",
    body: async (store) => {
      assert.is((await store.putManifest(aManifest("one", needs(4, false)))).kind, "stored");
      const child = aManifest("child");
      const reference = {
        digest: child.digest,
        sizeBytes: 5,
        kind: "manifest",
        required: true,
      } as const;
      const parent = aManifest("parent", { references: [reference] });
      assert.is((await store.putManifest(parent)).kind, "missing");
      await store.putManifest(child);
      assert.is((await store.putManifest(parent)).kind, "stored");
    },
  },
  {
    title: "removes a manifest with its tags, and a tag without its manifest",
    body: async (store) => {
      const manifest = aManifest("one", { tags: ["x", "y"] });
      await store.putManifest(manifest);
      assert.is(await store.removeTag("a", "x"), manifest.digest);
      assert.is(await store.removeTag("a", "x"), undefined);
      assert.equal(await store.removeManifest("a", manifest.digest), ["y"]);
      assert.is(await store.removeManifest("a", manifest.digest), undefined);
      assert.equal(await store.listTags("a", { last: undefined, limit: 10 }), []);
    },
  },
  {
    title: "lists tags and repositories in byte order, page by page",
    body: async (store) => {
      assert.is(await store.listTags("a", { last: undefined, limit: 10 }), undefined);
      await store.putManifest(aManifest("one", { tags: ["b", "a", "B", "10", "9"] }));
      assert.equal(await store.listTags("a", { last: undefined, limit: 2 }), ["10", "9"]);
      assert.equal(await store.listTags("a", { last: "9", limit: 10 }), ["B", "a", "b"]);
      assert.equal(await store.listTags("a", { last: "AA", limit: 1 }), ["B"]);
      assert.equal(await store.listTags("a", { last: "z", limit: 1 }), []);
      await putBlob(store, "z/y");
      assert.equal(await store.listRepositories({ last: undefined, limit: 10 }), ["a", "z/y"]);
      assert.equal(await store.listRepositories({ last: "a", limit: 10 }), ["z/y"]);
    },
  },
  {
    title: "lists referrers of a subject by digest, and by type",
    body: async (store) => {
      const entries = ["one", "two", "three"].map((text, index) =>
        aManifest(text, {
          subject: other,
          artifactType: index === 0 ? "t/1" : "t/2",
          referrer: `{"is":"${text}"}`,
        }),
      );
      for (const entry of entries) await store.putManifest(entry);
      const sorted = entries.toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
      const query = {
        repository: "a",
        subject: other,
        artifactType: undefined,
        last: undefined,
        limit: 10,
      };
      const expected = sorted.map((entry) => ({ digest: entry.digest, referrer: entry.referrer }));
      assert.equal(await store.listReferrers(query), expected);
      assert.equal(await store.listReferrers({ ...query, limit: 2 }), expected.slice(0, 2));
      const last = expected[0]?.digest;
      assert.equal(await store.listReferrers({ ...query, last }), expected.slice(1));
      const typed = await store.listReferrers({ ...query, artifactType: "t/1" });
      assert.equal(
        typed.map((entry) => entry.referrer),
        [`{"is":"one"}`],
      );
      assert.equal(await store.listReferrers({ ...query, repository: "b" }), []);
    },
  },
];

const collectAll = { repository: "a", linkedUntil: 10, spares: () => false, dryRun: false };

const garbageCases: readonly Case[] = [
  {
    title: "shows the planner all of a repository, and removes in one step what it says",
    body: async (store) => {
      await putBlob(store, "a");
      await putBlob(store, "b");
      const [one, two] = [
        aManifest("one", { ...needs(4), tags: ["x", "y"] }),
        aManifest("two", { subject: other, tags: ["z"] }),
      ];
      for (const manifest of [one, two]) await store.putManifest(manifest);
      const use = { repository: "a", digest: two.digest };
      await store.recordUses({ blobs: [], manifests: [{ ...use, pulledAt: 7, touchedAt: 8 }] });
      await store.recordUses({
        blobs: [],
        manifests: [
          { ...use, pulledAt: 5, touchedAt: undefined },
          { ...use, digest: other, pulledAt: 5, touchedAt: 5 },
        ],
      });
      const collected = await store.collect({
        ...collectAll,
        plan: ({ manifests, tags }) => {
          assert.equal(tags.map((tag) => `${tag.name} ${tag.updatedAt}`).toSorted(), [
            "x 1",
            "y 1",
            "z 1",
          ]);
          const unused = { pulledAt: undefined, touchedAt: undefined };
          const facts = { pushedAt: 1, sizeBytes: 3, subject: undefined };
          assert.equal(
            manifests.toSorted((a) => (a.digest === one.digest ? -1 : 1)),
            [
              { ...facts, ...unused, digest: one.digest, references: [digest] },
              {
                ...facts,
                digest: two.digest,
                subject: other,
                references: [],
                pulledAt: 7,
                touchedAt: 8,
              },
            ],
          );
          return { tags: ["z"], manifests: [one.digest] };
        },
      });
      assert.equal(collected.tags.map(({ name }) => name).toSorted(), ["x", "y", "z"]);
      assert.equal(
        collected.manifests.map((manifest) => manifest.digest),
        [one.digest],
      );
      assert.equal(collected.links, [{ digest, sizeBytes: 4, elsewhere: 1 }]);
      assert.is(await store.findBlob("a", digest), undefined);
      assert.is(await store.findBlob("b", digest), 4);
      assert.is((await store.findManifest("a", two.digest))?.digest, two.digest);
      assert.is(await store.findManifest("a", "z"), undefined);
    },
  },
  {
    title: "takes blobs that nothing needs, but not young or spared ones, and in a dry run none",
    body: async (store) => {
      const plan = (): { readonly tags: []; readonly manifests: [] } => ({
        tags: [],
        manifests: [],
      });
      await putBlob(store, "a");
      await putBlob(store, "a", other);
      await store.recordUses({
        blobs: [{ repository: "a", digest: other, at: 11 }],
        manifests: [],
      });
      const links = [{ digest, sizeBytes: 4, elsewhere: 0 }];
      assert.equal((await store.collect({ ...collectAll, plan, dryRun: true })).links, links);
      assert.is(await store.hasBlob(digest), true);
      assert.equal((await store.collect({ ...collectAll, plan, spares: () => true })).links, []);
      assert.equal((await store.collect({ ...collectAll, plan })).links, links);
      assert.is(await store.hasBlob(digest), false);
      assert.is(await store.findBlob("a", other), 4);
      await store.forgetBlob(other);
      assert.equal((await store.collect({ ...collectAll, plan, linkedUntil: 11 })).links, [
        { digest: other, sizeBytes: 0, elsewhere: 0 },
      ]);
    },
  },
];
