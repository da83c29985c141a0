import type { Digest } from "@strata/protocol/oci/digest";
import { and, count, eq, sql } from "drizzle-orm";

import type { BlobIndex, PutBlob, RemoveBlobResult, RestoreBlob } from "../../metadata-store.ts";
import type { RegistryDatabase, Transaction } from "./database.ts";
import type { Recorder } from "./recorder.ts";
import type { Reserve } from "./reserve.ts";
import { blobs, manifestReferences, repositories, repositoryBlobs, uploads } from "./schema.ts";
import { withinQuota } from "./usage-index.ts";

export function createBlobIndex(
  database: RegistryDatabase,
  recorder: Recorder,
  reserve: Reserve,
): BlobIndex {
  const findBlob = prepareFindBlob(database);
  return {
    findBlob: async (repository, digest) => findBlob(repository, digest),
    findBlobSize: async (digest) => findBlobSize(database, digest),
    findBlobTime: async (digest) =>
      database
        .select({ createdAt: blobs.createdAt })
        .from(blobs)
        .where(eq(blobs.digest, digest))
        .get()?.createdAt,
    hasBlob: async (digest) => findBlobSize(database, digest) !== undefined,
    putBlob: async (blob) =>
      database.transaction((transaction) => {
        withinQuota(transaction, blob.quota, () => putBlob(transaction, blob));
        const { repository, digest, sizeBytes, at } = blob;
        recorder.record(transaction, [{ do: "link", repository, digest, sizeBytes, at }]);
      }),
    mountBlob: async ({ from, repository, digest, at, quota }) =>
      database.transaction((transaction) => {
        const sizeBytes = findBlob(from, digest);
        if (sizeBytes === undefined) return false;
        withinQuota(transaction, quota, () => linkBlob(transaction, { repository, digest, at }));
        recorder.record(transaction, [{ do: "link", repository, digest, sizeBytes, at }]);
        return true;
      }),
    listRepositoriesWithBlob: async (digest, limit) =>
      database
        .select({ repository: repositoryBlobs.repository })
        .from(repositoryBlobs)
        .innerJoin(blobs, eq(blobs.digest, repositoryBlobs.digest))
        .where(eq(repositoryBlobs.digest, digest))
        .limit(limit)
        .all()
        .map((row) => row.repository),
    removeBlob: async (repository, digest) =>
      reserve.spendOn(() =>
        database.transaction((transaction) => {
          const result = removeBlob(transaction, repository, digest);
          const gone = result === "unlinked" || result === "unused";
          recorder.record(transaction, gone ? [{ do: "unlink", repository, digest }] : []);
          return result;
        }),
      ),
    restoreBlob: async (blob) =>
      database.transaction((transaction) => restoreBlob(transaction, blob)),
    forgetBlob: async (digest) => {
      database.delete(blobs).where(eq(blobs.digest, digest)).run();
    },
  };
}

function findBlobSize(database: RegistryDatabase, digest: Digest): number | undefined {
  return database
    .select({ sizeBytes: blobs.sizeBytes })
    .from(blobs)
    .where(eq(blobs.digest, digest))
    .get()?.sizeBytes;
}

/** The hottest question, prepared once: how long is this blob of this repository? */
export function prepareFindBlob(
  database: RegistryDatabase,
): (repository: string, digest: Digest) => number | undefined {
  const statement = database
    .select({ sizeBytes: blobs.sizeBytes })
    .from(repositoryBlobs)
    .innerJoin(blobs, eq(blobs.digest, repositoryBlobs.digest))
    .where(
      and(
        eq(repositoryBlobs.repository, sql.placeholder("repository")),
        eq(repositoryBlobs.digest, sql.placeholder("digest")),
      ),
    )
    .prepare();
  return (repository, digest) => statement.get({ repository, digest })?.sizeBytes;
}

export function putRepository(transaction: Transaction, name: string, at: number): void {
  transaction.insert(repositories).values({ name, createdAt: at }).onConflictDoNothing().run();
}

function restoreBlob(transaction: Transaction, { digest, sizeBytes, at }: RestoreBlob): boolean {
  const claim = transaction
    .select()
    .from(repositoryBlobs)
    .where(eq(repositoryBlobs.digest, digest))
    .limit(1)
    .get();
  if (claim === undefined) return false;
  putBytes(transaction, { digest, sizeBytes, at });
  return true;
}

export function putBytes(transaction: Transaction, { digest, sizeBytes, at }: RestoreBlob): void {
  transaction
    .insert(blobs)
    .values({ digest, sizeBytes, createdAt: at })
    .onConflictDoUpdate({ target: blobs.digest, set: { sizeBytes } })
    .run();
}

function putBlob(transaction: Transaction, blob: PutBlob): void {
  const { repository, digest, uploadId, at } = blob;
  putBytes(transaction, blob);
  linkBlob(transaction, { repository, digest, at });
  if (uploadId !== undefined) transaction.delete(uploads).where(eq(uploads.id, uploadId)).run();
}

type Link = { readonly repository: string; readonly digest: Digest; readonly at: number };

export function linkBlob(transaction: Transaction, { repository, digest, at }: Link): void {
  putRepository(transaction, repository, at);
  transaction
    .insert(repositoryBlobs)
    .values({ repository, digest, linkedAt: at })
    .onConflictDoUpdate({
      target: [repositoryBlobs.repository, repositoryBlobs.digest],
      set: { linkedAt: at },
    })
    .run();
}

function removeBlob(
  transaction: Transaction,
  repository: string,
  digest: Digest,
): RemoveBlobResult {
  const referenced = transaction
    .select({ manifest: manifestReferences.manifest })
    .from(manifestReferences)
    .where(
      and(eq(manifestReferences.repository, repository), eq(manifestReferences.digest, digest)),
    )
    .limit(1)
    .get();
  const link = and(eq(repositoryBlobs.repository, repository), eq(repositoryBlobs.digest, digest));
  const linked = transaction.select().from(repositoryBlobs).where(link).get();
  if (linked === undefined) return "absent";
  if (referenced !== undefined) return "referenced";
  return removeLink(transaction, { repository, digest }) === 0 ? "unused" : "unlinked";
}

/** Gives how many other repositories have the blob. */
export function removeLink(
  transaction: Transaction,
  { repository, digest }: { readonly repository: string; readonly digest: Digest },
): number {
  transaction
    .delete(repositoryBlobs)
    .where(and(eq(repositoryBlobs.repository, repository), eq(repositoryBlobs.digest, digest)))
    .run();
  const elsewhere =
    transaction
      .select({ count: count() })
      .from(repositoryBlobs)
      .where(eq(repositoryBlobs.digest, digest))
      .get()?.count ?? 0;
  if (elsewhere === 0) transaction.delete(blobs).where(eq(blobs.digest, digest)).run();
  return elsewhere;
}
