import { type Digest, isDigest } from "@strata/protocol/oci/digest";
import { and, asc, desc, eq, gt, sql } from "drizzle-orm";

import type {
  ManifestDescriptor,
  ManifestIndex,
  Page,
  PutManifestResult,
  ReferrersQuery,
  StoredManifest,
} from "../../metadata-store.ts";
import { prepareFindBlob } from "./blob-index.ts";
import { describePut } from "./changes.ts";
import type { RegistryDatabase, Transaction } from "./database.ts";
import { preparePutManifest } from "./put-manifest.ts";
import type { Recorder } from "./recorder.ts";
import type { Reserve } from "./reserve.ts";
import { manifests, repositories, tags } from "./schema.ts";
import { withinQuota } from "./usage-index.ts";

const descriptorColumns = {
  digest: manifests.digest,
  mediaType: manifests.mediaType,
  sizeBytes: manifests.sizeBytes,
};
const manifestColumns = { ...descriptorColumns, body: manifests.body };

export function createManifestIndex(
  database: RegistryDatabase,
  recorder: Recorder,
  reserve: Reserve,
): ManifestIndex {
  const findManifest = prepareFindManifest(database);
  const findDescriptor = prepareFindDescriptor(database);
  const putManifest = preparePutManifest(prepareFindBlob(database), findDescriptor);
  return {
    findManifest: async (repository, reference) => findManifest(repository, reference),
    findManifestDescriptor: async (repository, reference) => findDescriptor(repository, reference),
    putManifest: async (manifest) =>
      database.transaction((transaction) => {
        const put = (): PutManifestResult => putManifest(transaction, manifest);
        const result = withinQuota(transaction, manifest.quota, put);
        if (result.kind === "stored") recorder.record(transaction, describePut(manifest));
        return result;
      }),
    removeManifest: async (repository, digest) =>
      reserve.spendOn(() =>
        database.transaction((transaction) => {
          const pointing = removeManifest(transaction, repository, digest);
          const gone = pointing !== undefined;
          recorder.record(transaction, gone ? [{ do: "remove", repository, digest }] : []);
          return pointing;
        }),
      ),
    removeTag: async (repository, tag) =>
      reserve.spendOn(() =>
        database.transaction((transaction) => {
          const row = transaction
            .delete(tags)
            .where(and(eq(tags.repository, repository), eq(tags.name, tag)))
            .returning({ digest: tags.digest })
            .get();
          const gone = row !== undefined;
          recorder.record(transaction, gone ? [{ do: "untag", repository, tag }] : []);
          return row?.digest;
        }),
      ),
    listTags: async (repository, page) => listTags(database, repository, page),
    listNewestTags: async (repository, limit) =>
      database
        .select({ name: tags.name, digest: tags.digest, updatedAt: tags.updatedAt })
        .from(tags)
        .where(eq(tags.repository, repository))
        .orderBy(desc(tags.updatedAt), asc(tags.name))
        .limit(limit)
        .all(),
    listReferrers: async (query) => listReferrers(database, query),
    listRepositories: async ({ last, limit }) =>
      database
        .select({ name: repositories.name })
        .from(repositories)
        .where(last === undefined ? undefined : gt(repositories.name, last))
        .orderBy(asc(repositories.name))
        .limit(limit)
        .all()
        .map((row) => row.name),
  };
}

const byDigest = and(
  eq(manifests.repository, sql.placeholder("repository")),
  eq(manifests.digest, sql.placeholder("reference")),
);
const byTag = and(
  eq(tags.repository, sql.placeholder("repository")),
  eq(tags.name, sql.placeholder("reference")),
);
const ofTag = and(eq(manifests.repository, tags.repository), eq(manifests.digest, tags.digest));

function prepareFindManifest(
  database: RegistryDatabase,
): (repository: string, reference: string) => StoredManifest | undefined {
  const digestStatement = database
    .select(manifestColumns)
    .from(manifests)
    .where(byDigest)
    .prepare();
  const tagStatement = database
    .select(manifestColumns)
    .from(tags)
    .innerJoin(manifests, ofTag)
    .where(byTag)
    .prepare();
  return (repository, reference) =>
    (isDigest(reference) ? digestStatement : tagStatement).get({ repository, reference });
}

function prepareFindDescriptor(
  database: RegistryDatabase,
): (repository: string, reference: string) => ManifestDescriptor | undefined {
  const digestStatement = database
    .select(descriptorColumns)
    .from(manifests)
    .where(byDigest)
    .prepare();
  const tagStatement = database
    .select(descriptorColumns)
    .from(tags)
    .innerJoin(manifests, ofTag)
    .where(byTag)
    .prepare();
  return (repository, reference) =>
    (isDigest(reference) ? digestStatement : tagStatement).get({ repository, reference });
}

function removeManifest(
  transaction: Transaction,
  repository: string,
  digest: Digest,
): readonly string[] | undefined {
  const pointing = transaction
    .select({ name: tags.name })
    .from(tags)
    .where(and(eq(tags.repository, repository), eq(tags.digest, digest)))
    .all();
  const { changes } = transaction
    .delete(manifests)
    .where(and(eq(manifests.repository, repository), eq(manifests.digest, digest)))
    .run();
  return changes === 0 ? undefined : pointing.map((row) => row.name);
}

function listTags(
  database: RegistryDatabase,
  repository: string,
  { last, limit }: Page,
): readonly string[] | undefined {
  const names = database
    .select({ name: tags.name })
    .from(tags)
    .where(
      and(eq(tags.repository, repository), last === undefined ? undefined : gt(tags.name, last)),
    )
    .orderBy(asc(tags.name))
    .limit(limit)
    .all()
    .map((row) => row.name);
  if (names.length > 0) return names;
  const known = database.select().from(repositories).where(eq(repositories.name, repository)).get();
  return known === undefined ? undefined : names;
}

function listReferrers(
  database: RegistryDatabase,
  { repository, subject, artifactType, last, limit }: ReferrersQuery,
): readonly { readonly digest: Digest; readonly referrer: string }[] {
  return database
    .select({
      digest: manifests.digest,
      referrer: sql<string>`coalesce(${manifests.referrer}, '')`,
    })
    .from(manifests)
    .where(
      and(
        eq(manifests.repository, repository),
        eq(manifests.subject, subject),
        artifactType === undefined ? undefined : eq(manifests.artifactType, artifactType),
        last === undefined ? undefined : gt(sql<string>`${manifests.digest}`, last),
      ),
    )
    .orderBy(asc(manifests.digest))
    .limit(limit)
    .all();
}
