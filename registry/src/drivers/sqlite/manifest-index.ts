import { type Digest, isDigest } from "@strata/protocol/oci/digest";
import { and, asc, eq, gt, sql } from "drizzle-orm";

import type {
  ManifestDescriptor,
  ManifestIndex,
  Page,
  ReferrersQuery,
  StoredManifest,
} from "../../metadata-store.ts";
import { prepareFindBlob } from "./blob-index.ts";
import type { RegistryDatabase } from "./database.ts";
import { preparePutManifest } from "./put-manifest.ts";
import { manifests, repositories, tags } from "./schema.ts";
import { withinQuota } from "./usage-index.ts";

const descriptorColumns = {
  digest: manifests.digest,
  mediaType: manifests.mediaType,
  sizeBytes: manifests.sizeBytes,
};
const manifestColumns = { ...descriptorColumns, body: manifests.body };

export function createManifestIndex(database: RegistryDatabase): ManifestIndex {
  const findManifest = prepareFindManifest(database);
  const findDescriptor = prepareFindDescriptor(database);
  const putManifest = preparePutManifest(prepareFindBlob(database), findDescriptor);
  return {
    findManifest: async (repository, reference) => findManifest(repository, reference),
    findManifestDescriptor: async (repository, reference) => findDescriptor(repository, reference),
    putManifest: async (manifest) =>
      database.transaction((transaction) =>
        withinQuota(transaction, manifest.quota, () => putManifest(transaction, manifest)),
      ),
    removeManifest: async (repository, digest) => removeManifest(database, repository, digest),
    removeTag: async (repository, tag) =>
      database
        .delete(tags)
        .where(and(eq(tags.repository, repository), eq(tags.name, tag)))
        .returning({ digest: tags.digest })
        .get()?.digest,
    listTags: async (repository, page) => listTags(database, repository, page),
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
  database: RegistryDatabase,
  repository: string,
  digest: Digest,
): readonly string[] | undefined {
  return database.transaction((transaction) => {
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
  });
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
