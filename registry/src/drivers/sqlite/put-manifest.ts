import type { Digest } from "@strata/protocol/oci/digest";
import { and, eq } from "drizzle-orm";

import type {
  ManifestDescriptor,
  ManifestReference,
  PutManifest,
  PutManifestResult,
  TagMove,
} from "../../metadata-store.ts";
import { putRepository } from "./blob-index.ts";
import type { Transaction } from "./database.ts";
import { manifestReferences, manifests, tags } from "./schema.ts";

type FindBlob = (repository: string, digest: Digest) => number | undefined;
type FindDescriptor = (repository: string, reference: string) => ManifestDescriptor | undefined;

/** Stores a manifest with its references and tags, if all that it requires is there.
 * The two finders run on the same connection, so inside the same transaction. */
export function preparePutManifest(
  findBlob: FindBlob,
  findDescriptor: FindDescriptor,
): (transaction: Transaction, manifest: PutManifest) => PutManifestResult {
  const storedBytes = (
    repository: string,
    { kind, digest }: ManifestReference,
  ): number | undefined =>
    kind === "blob" ? findBlob(repository, digest) : findDescriptor(repository, digest)?.sizeBytes;
  return (transaction, manifest) => {
    const missing: Digest[] = [];
    for (const reference of manifest.references) {
      const stored = storedBytes(manifest.repository, reference);
      if (stored === undefined) {
        if (reference.required) missing.push(reference.digest);
      } else if (stored !== reference.sizeBytes) {
        return { kind: "size-mismatch", digest: reference.digest, storedBytes: stored };
      }
    }
    if (missing.length > 0) return { kind: "missing", digests: missing };
    writeManifest(transaction, manifest);
    writeReferences(transaction, manifest);
    return {
      kind: "stored",
      moves: manifest.tags.map((tag) => moveTag(transaction, manifest, tag)),
    };
  };
}

export function writeManifest(transaction: Transaction, manifest: PutManifest): void {
  const { repository, digest, mediaType, sizeBytes, body, subject, artifactType, referrer, at } =
    manifest;
  putRepository(transaction, repository, at);
  // An upsert, not a replace: that would delete the old row and with it, by cascade, its tags.
  const content = { mediaType, sizeBytes, body, subject, artifactType, referrer, pushedAt: at };
  transaction
    .insert(manifests)
    .values({ repository, digest, ...content })
    .onConflictDoUpdate({ target: [manifests.repository, manifests.digest], set: content })
    .run();
}

export function writeReferences(transaction: Transaction, manifest: PutManifest): void {
  const { repository, digest, references } = manifest;
  transaction
    .delete(manifestReferences)
    .where(
      and(eq(manifestReferences.repository, repository), eq(manifestReferences.manifest, digest)),
    )
    .run();
  const digests = new Set(references.map((reference) => reference.digest));
  if (digests.size === 0) return;
  transaction
    .insert(manifestReferences)
    .values([...digests].map((needed) => ({ repository, manifest: digest, digest: needed })))
    .run();
}

export function moveTag(
  transaction: Transaction,
  manifest: Pick<PutManifest, "repository" | "digest" | "at">,
  tag: string,
): TagMove {
  const { repository, digest, at } = manifest;
  const previous = transaction
    .select({ digest: tags.digest })
    .from(tags)
    .where(and(eq(tags.repository, repository), eq(tags.name, tag)))
    .get()?.digest;
  transaction
    .insert(tags)
    .values({ repository, name: tag, digest, updatedAt: at })
    .onConflictDoUpdate({
      target: [tags.repository, tags.name],
      set: { digest, updatedAt: at },
    })
    .run();
  return { tag, previous };
}
