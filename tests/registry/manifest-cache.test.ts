import { type Digest, parseDigest } from "@strata/protocol/oci/digest";
import { createSqliteMetadataStore } from "@strata/registry/drivers/sqlite-metadata-store";
import { cacheManifests } from "@strata/registry/manifest-cache";
import type { MetadataStore, PutManifest } from "@strata/registry/metadata-store";
import fc from "fast-check";

import { digestOf } from "../support/registry-client.ts";
import { assert, suite } from "../support/suite.ts";

const bodies = ["one", "two", "three"].map((text) => Buffer.from(text));
const body = (index: number): Buffer => bodies[index % bodies.length] ?? Buffer.alloc(0);
const digest = (index: number): Digest => parseDigest(digestOf(body(index)));
const digests = [0, 1, 2].map(digest);
const tags = ["a", "b"];

function aManifest(body: Buffer, manifestTags: readonly string[] = []): PutManifest {
  return {
    repository: "r",
    digest: parseDigest(digestOf(body)),
    mediaType: "application/json",
    sizeBytes: body.length,
    body,
    references: [],
    subject: undefined,
    artifactType: undefined,
    referrer: undefined,
    tags: manifestTags,
    at: 1,
  };
}

const operations = {
  put: (store: MetadataStore, which: number) =>
    store.putManifest(
      aManifest(body(which), which % 2 === 0 ? [] : [tags[(which % 4) >> 1] ?? "a"]),
    ),
  remove: (store: MetadataStore, which: number) => store.removeManifest("r", digest(which)),
  untag: (store: MetadataStore, which: number) => store.removeTag("r", tags[which % 2] ?? "a"),
  collect: (store: MetadataStore) =>
    store.collect({
      repository: "r",
      plan: ({ manifests }) => ({
        tags: [],
        manifests: manifests.slice(0, 1).map((manifest) => manifest.digest),
      }),
      linkedUntil: 0,
      spares: () => false,
      dryRun: false,
    }),
};

async function observe(store: MetadataStore): Promise<readonly string[]> {
  return Promise.all(
    [...digests, ...tags].map(async (reference) => {
      const whole = await store.findManifest("r", reference);
      const head = await store.findManifestDescriptor("r", reference);
      return `${reference}: ${whole?.body.toString() ?? "none"} ${head?.digest ?? "none"}`;
    }),
  );
}

suite("the cache of manifests", (test) => {
  test("answers as the store behind it does, after any changes", async () => {
    const step = fc.tuple(
      fc.constantFrom("put" as const, "put", "remove", "untag", "collect"),
      fc.nat(11),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const store = createSqliteMetadataStore(":memory:");
        const cached = cacheManifests(store);
        for (const [name, which] of steps) {
          await operations[name](cached, which);
          assert.equal(await observe(cached), await observe(store));
        }
        store.close();
      }),
      { numRuns: 150 },
    );
  });

  test("asks once for what does not change", async () => {
    const store = createSqliteMetadataStore(":memory:");
    let asked = 0;
    const cached = cacheManifests({
      ...store,
      findManifest: (repository, reference) => {
        asked += 1;
        return store.findManifest(repository, reference);
      },
    });
    await cached.putManifest(aManifest(body(0), ["a"]));
    for (let turn = 0; turn < 5; turn += 1) await cached.findManifest("r", "a");
    assert.is(asked, 1);
    assert.is(await cached.findManifest("r", "none"), undefined);
    store.close();
  });

  test("does not keep what was read before a change and came after it", async () => {
    const store = createSqliteMetadataStore(":memory:");
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    let first = true;
    const cached = cacheManifests({
      ...store,
      findManifest: async (repository, reference) => {
        const found = await store.findManifest(repository, reference);
        if (first) {
          first = false;
          await held;
        }
        return found;
      },
    });
    await cached.putManifest(aManifest(body(0), ["a"]));
    const slow = cached.findManifest("r", "a");
    await Promise.resolve();
    await cached.putManifest(aManifest(body(1), ["a"]));
    release();
    assert.is((await slow)?.digest, digest(0));
    assert.is((await cached.findManifest("r", "a"))?.digest, digest(1));
    store.close();
  });

  test("holds no more than its bytes: long manifests are not kept, old ones go", async () => {
    const store = createSqliteMetadataStore(":memory:");
    let asked = 0;
    const cached = cacheManifests({
      ...store,
      findManifest: (repository, reference) => {
        asked += 1;
        return store.findManifest(repository, reference);
      },
    });
    const large = Array.from({ length: 100 }, (_, turn) => Buffer.alloc(60_000, `${turn} `));
    const names = large.map((bytes) => digestOf(bytes));
    for (const bytes of large) await cached.putManifest(aManifest(bytes));
    for (const name of names) await cached.findManifest("r", name);
    await cached.findManifest("r", names.at(-1) ?? "");
    assert.is(asked, 100, "the last one is still there");
    await cached.findManifest("r", names[0] ?? "");
    assert.is(asked, 101, "the first one is not");
    const long = Buffer.alloc(100_000, "x");
    await cached.putManifest(aManifest(long));
    for (let turn = 0; turn < 2; turn += 1) await cached.findManifest("r", digestOf(long));
    assert.is(asked, 103);
    store.close();
  });
});
