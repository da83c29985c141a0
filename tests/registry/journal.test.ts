/** The metadata must outlive the loss of its database: nothing is known that was not, and nothing is missing. */
import {
  appendFileSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { type Digest, parseDigest } from "@strata/protocol/oci/digest";
import {
  createSqliteMetadataStore,
  type SqliteMetadataOptions,
} from "@strata/registry/drivers/sqlite-metadata-store";
import type { MetadataStore, RepositoryFacts } from "@strata/registry/metadata-store";
import fc from "fast-check";

import { digestOf } from "../support/registry-client.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const repositories = ["a", "b"];
const digests = [0, 1, 2, 3].map((number) => parseDigest(digestOf(Buffer.from(`${number}`))));

function digestAt(number: number): Digest {
  return digests[number % digests.length] ?? parseDigest(digestOf(Buffer.alloc(0)));
}

function open(folder: string, options: SqliteMetadataOptions = {}): MetadataStore {
  return createSqliteMetadataStore(join(folder, "store.db"), options);
}

function loseDatabase(folder: string): void {
  for (const ending of ["", "-wal", "-shm"]) {
    rmSync(join(folder, `store.db${ending}`), { force: true });
  }
}

/** All that clients can see, and what the collector sees. */
async function dump(store: MetadataStore): Promise<readonly unknown[]> {
  const seen: unknown[] = [await store.listRepositories({ last: undefined, limit: 10 })];
  for (const repository of repositories) {
    await store.collect({
      repository,
      plan: (facts) => {
        seen.push(sorted(facts));
        return { tags: [], manifests: [] };
      },
      linkedUntil: -1,
      spares: () => true,
      dryRun: true,
    });
    for (const digest of digests) {
      const manifest = await store.findManifest(repository, digest);
      const query = { repository, subject: digest, artifactType: undefined };
      const referrers = await store.listReferrers({ ...query, last: undefined, limit: 10 });
      seen.push(await store.findBlob(repository, digest), referrers);
      seen.push(manifest?.body.toString(), manifest?.mediaType);
    }
  }
  return seen;
}

function sorted({ manifests, tags }: RepositoryFacts): RepositoryFacts {
  return {
    manifests: manifests
      .map((manifest) => ({ ...manifest, references: manifest.references.toSorted() }))
      .toSorted((a, b) => (a.digest < b.digest ? -1 : 1)),
    tags: tags.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
  };
}

type Step = readonly [kind: string, repository: string, number: number];

async function take(store: MetadataStore, [kind, repository, number]: Step): Promise<void> {
  const digest = digestAt(number);
  switch (kind) {
    case "blob":
      return store.putBlob({ repository, digest, sizeBytes: 1, uploadId: undefined, at: number });
    case "mount":
      await store.mountBlob({ from: "a", repository: "b", digest, at: number });
      return;
    case "unlink":
      await store.removeBlob(repository, digest);
      return;
    case "manifest":
      await putManifest(store, repository, number);
      return;
    case "remove":
      await store.removeManifest(repository, digest);
      return;
    case "untag":
      await store.removeTag(repository, `t${number % 3}`);
      return;
    default:
      await store.collect({
        repository,
        plan: ({ manifests }) => ({
          tags: [`t${number % 3}`],
          manifests: manifests.slice(0, 1).map((manifest) => manifest.digest),
        }),
        linkedUntil: number,
        spares: () => false,
        dryRun: number % 2 === 0,
      });
  }
}

async function putManifest(
  store: MetadataStore,
  repository: string,
  number: number,
): Promise<void> {
  const body = Buffer.from(`${number % digests.length}`);
  const digest = digestAt(number + 1);
  await store.putManifest({
    repository,
    digest: digestAt(number),
    mediaType: "application/json",
    sizeBytes: body.length,
    body,
    references: [{ digest, sizeBytes: 1, kind: "blob", required: number % 2 === 0 }],
    subject: number % 3 === 0 ? digest : undefined,
    artifactType: number % 3 === 0 ? "x/y" : undefined,
    referrer: number % 3 === 0 ? "{}" : undefined,
    tags: number % 5 === 0 ? [] : [`t${number % 3}`],
    at: number,
  });
}

const steps = fc.array(
  fc.tuple(
    fc.constantFrom(
      "blob",
      "blob",
      "mount",
      "unlink",
      "manifest",
      "manifest",
      "remove",
      "untag",
      "collect",
    ),
    fc.constantFrom(...repositories),
    fc.nat(40),
  ),
  { maxLength: 25 },
);

suite("the journal", (test) => {
  test("makes a lost database anew, whatever was done", async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(25), async (list, reopenAt) => {
        await using folder = aTemporaryDirectory();
        let store = open(folder.path);
        for (const [index, step] of list.entries()) {
          await take(store, step);
          if (index !== reopenAt) continue;
          store.close();
          store = open(folder.path);
        }
        const before = await dump(store);
        store.close();
        loseDatabase(folder.path);
        const again = open(folder.path);
        assert.equal(await dump(again), withoutEmpty(before, await dump(again)));
        again.close();
      }),
      { numRuns: 60 },
    );
  });

  test("brings an older database forward, and follows a newer one", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "store.db");
    const journal = join(folder.path, "journal.ndjson");
    let store = open(folder.path);
    await take(store, ["blob", "a", 0]);
    store.close();
    const [oldDatabase, oldJournal] = [readFileSync(path), readFileSync(journal)];
    store = open(folder.path);
    await take(store, ["blob", "a", 1]);
    store.close();
    const [newDatabase, newJournal] = [readFileSync(path), readFileSync(journal)];

    loseDatabase(folder.path);
    writeFileSync(path, oldDatabase);
    const recoveries: unknown[] = [];
    store = open(folder.path, { onRecovered: (recovery) => recoveries.push(recovery) });
    assert.equal(recoveries, [{ replayed: 1, damaged: 0 }]);
    assert.is(await store.findBlob("a", digestAt(1)), 1);
    store.close();

    loseDatabase(folder.path);
    writeFileSync(path, newDatabase);
    writeFileSync(journal, oldJournal);
    open(folder.path).close();
    loseDatabase(folder.path);
    store = open(folder.path);
    assert.is(await store.findBlob("a", digestAt(1)), 1);
    store.close();
    assert.ok(newJournal.length > oldJournal.length);
  });

  test("begins with all that an older version left, which kept none", async () => {
    await using folder = aTemporaryDirectory();
    let store = open(folder.path);
    for (const number of [1, 2, 3]) await take(store, ["manifest", "a", number]);
    const before = await dump(store);
    store.close();
    rmSync(join(folder.path, "journal.ndjson"));
    open(folder.path).close();
    loseDatabase(folder.path);
    store = open(folder.path);
    assert.equal(await dump(store), before);
    store.close();
  });

  test("loses one line at most to a torn end, and no other line to a damaged one", async () => {
    for (const harm of ["torn", "damaged"] as const) {
      await using folder = aTemporaryDirectory();
      const journal = join(folder.path, "journal.ndjson");
      let store = open(folder.path);
      for (const number of [0, 1, 2]) await take(store, ["blob", "a", number]);
      store.close();
      loseDatabase(folder.path);
      if (harm === "torn") truncateSync(journal, statSync(journal).size - 5);
      else writeFileSync(journal, readFileSync(journal, "utf8").replace(digestAt(1), digestAt(3)));
      const recoveries: unknown[] = [];
      store = open(folder.path, { onRecovered: (recovery) => recoveries.push(recovery) });
      const found = await Promise.all(digests.map((digest) => store.findBlob("a", digest)));
      const torn = [[1, 1, undefined, undefined], { replayed: 3, damaged: 0 }];
      const damaged = [[1, undefined, 1, undefined], { replayed: 3, damaged: 1 }];
      assert.equal([found, recoveries[0]], harm === "torn" ? torn : damaged);
      await take(store, ["blob", "b", 3]);
      store.close();
      loseDatabase(folder.path);
      store = open(folder.path);
      assert.is(await store.findBlob("b", digestAt(3)), 1);
      store.close();
    }
  });

  test("does not take part of a line that a kill left for a line", async () => {
    await using folder = aTemporaryDirectory();
    let store = open(folder.path);
    await take(store, ["blob", "a", 0]);
    store.close();
    appendFileSync(join(folder.path, "journal.ndjson"), '12345678 {"number":2,"chan');
    store = open(folder.path);
    await take(store, ["blob", "a", 1]);
    store.close();
    loseDatabase(folder.path);
    store = open(folder.path);
    assert.is(await store.findBlob("a", digestAt(0)), 1);
    assert.is(await store.findBlob("a", digestAt(1)), 1);
    store.close();
  });
});

/** A repository that holds nothing any more is not made anew: its name is all that it was. */
function withoutEmpty(before: readonly unknown[], after: readonly unknown[]): readonly unknown[] {
  return [after[0], ...before.slice(1)];
}
