import type { Digest } from "@strata/protocol/oci/digest";
import { and, asc, eq } from "drizzle-orm";

import type { ManifestReference, PutManifest } from "../../metadata-store.ts";
import { linkBlob, putBytes, removeLink } from "./blob-index.ts";
import type { RegistryDatabase, Transaction } from "./database.ts";
import { moveTag, writeManifest, writeReferences } from "./put-manifest.ts";
import { blobs, manifestReferences, manifests, repositoryBlobs, tags } from "./schema.ts";

type InRepository = { readonly repository: string };

/** A change to what exists, as the journal keeps it. Applied twice it does what it does once. */
export type Change =
  | (InRepository & { readonly do: "link"; readonly digest: Digest; readonly at: number } & {
      readonly sizeBytes: number;
    })
  | (InRepository & { readonly do: "unlink"; readonly digest: Digest })
  | (InRepository & ManifestChange)
  | (InRepository & { readonly do: "remove"; readonly digest: Digest })
  | (InRepository & {
      readonly do: "tag";
      readonly tag: string;
      readonly digest: Digest;
      readonly at: number;
    })
  | (InRepository & { readonly do: "untag"; readonly tag: string });

type ManifestChange = {
  readonly do: "put";
  readonly digest: Digest;
  readonly mediaType: string;
  /** Base64. */
  readonly body: string;
  readonly references: readonly Digest[];
  readonly subject?: Digest | undefined;
  readonly artifactType?: string | undefined;
  readonly referrer?: string | undefined;
  readonly at: number;
};

export function describePut(manifest: PutManifest): readonly Change[] {
  const { repository, digest, mediaType, body, references, tags: names, at } = manifest;
  const { subject, artifactType, referrer } = manifest;
  const put: Change = {
    do: "put",
    repository,
    digest,
    mediaType,
    body: body.toString("base64"),
    references: references.map((reference) => reference.digest),
    subject,
    artifactType,
    referrer,
    at,
  };
  return [put, ...names.map((tag): Change => ({ do: "tag", repository, tag, digest, at }))];
}

/** Asks nothing: what was allowed once is done again. */
export function applyChange(transaction: Transaction, change: Change): void {
  const { repository } = change;
  switch (change.do) {
    case "link":
      putBytes(transaction, change);
      linkBlob(transaction, change);
      return;
    case "unlink":
      removeLink(transaction, change);
      return;
    case "put":
      applyPut(transaction, { ...change, repository });
      return;
    case "remove":
      transaction
        .delete(manifests)
        .where(and(eq(manifests.repository, repository), eq(manifests.digest, change.digest)))
        .run();
      return;
    case "tag":
      applyTag(transaction, change);
      return;
    case "untag":
      transaction
        .delete(tags)
        .where(and(eq(tags.repository, repository), eq(tags.name, change.tag)))
        .run();
      return;
    default:
      change satisfies never;
  }
}

function applyPut(transaction: Transaction, change: InRepository & ManifestChange): void {
  const body = Buffer.from(change.body, "base64");
  const references = change.references.map((digest): ManifestReference => ({
    digest,
    sizeBytes: 0,
    kind: "blob",
    required: false,
  }));
  const manifest: PutManifest = {
    repository: change.repository,
    digest: change.digest,
    mediaType: change.mediaType,
    sizeBytes: body.length,
    body,
    references,
    subject: change.subject,
    artifactType: change.artifactType,
    referrer: change.referrer,
    tags: [],
    at: change.at,
  };
  writeManifest(transaction, manifest);
  writeReferences(transaction, manifest);
}

/** A tag whose manifest was in a damaged line has nothing to point at. */
function applyTag(transaction: Transaction, change: Change & { readonly do: "tag" }): void {
  const { repository, digest, tag } = change;
  const there = transaction
    .select({ digest: manifests.digest })
    .from(manifests)
    .where(and(eq(manifests.repository, repository), eq(manifests.digest, digest)))
    .get();
  if (there !== undefined) moveTag(transaction, change, tag);
}

/** All that there is, as changes that make it anew: links, then manifests, then tags. */
export function* describeAll(database: RegistryDatabase): Generator<Change> {
  const links = database
    .select({
      repository: repositoryBlobs.repository,
      digest: repositoryBlobs.digest,
      at: repositoryBlobs.linkedAt,
      sizeBytes: blobs.sizeBytes,
    })
    .from(repositoryBlobs)
    .innerJoin(blobs, eq(blobs.digest, repositoryBlobs.digest))
    .all();
  for (const link of links) yield { do: "link", ...link };
  const names = database
    .select({ repository: manifests.repository, digest: manifests.digest })
    .from(manifests)
    .orderBy(asc(manifests.pushedAt))
    .all();
  // One at a time: bodies are long.
  for (const name of names) yield* describeStored(database, name);
  for (const { repository, name, digest, updatedAt } of database.select().from(tags).all()) {
    yield { do: "tag", repository, tag: name, digest, at: updatedAt };
  }
}

function* describeStored(
  database: RegistryDatabase,
  { repository, digest }: { readonly repository: string; readonly digest: Digest },
): Generator<Change> {
  const row = database
    .select()
    .from(manifests)
    .where(and(eq(manifests.repository, repository), eq(manifests.digest, digest)))
    .get();
  if (row === undefined) return;
  const references = database
    .select({ digest: manifestReferences.digest })
    .from(manifestReferences)
    .where(
      and(eq(manifestReferences.repository, repository), eq(manifestReferences.manifest, digest)),
    )
    .all();
  yield {
    do: "put",
    repository,
    digest,
    mediaType: row.mediaType,
    body: row.body.toString("base64"),
    references: references.map((reference) => reference.digest),
    subject: row.subject ?? undefined,
    artifactType: row.artifactType ?? undefined,
    referrer: row.referrer ?? undefined,
    at: row.pushedAt,
  };
}
