import type { Digest } from "@strata/protocol/oci/digest";
import { and, eq, inArray, lte, notExists, sql } from "drizzle-orm";

import type {
  Collected,
  CollectRequest,
  GarbageIndex,
  ManifestFacts,
  Removals,
  RepositoryFacts,
  UseRecord,
} from "../../metadata-store.ts";
import type { Change } from "./changes.ts";
import type { RegistryDatabase, Transaction } from "./database.ts";
import type { Recorder } from "./recorder.ts";
import type { Reserve } from "./reserve.ts";
import {
  blobs,
  manifestReferences,
  manifests,
  manifestUses,
  repositoryBlobs,
  tags,
} from "./schema.ts";

/** SQLite takes 32,766 variables in one statement. */
const BATCH = 1_000;

export function createGarbageIndex(
  database: RegistryDatabase,
  recorder: Recorder,
  reserve: Reserve,
): GarbageIndex {
  return {
    collect: async (request) => reserve.spendOn(() => collect(database, recorder, request)),
    recordUses: async (uses) =>
      database.transaction((transaction) => recordUses(transaction, uses)),
  };
}

function collect(
  database: RegistryDatabase,
  recorder: Recorder,
  request: CollectRequest,
): Collected {
  const { repository, plan, dryRun } = request;
  let collected: Collected | undefined;
  const step = (transaction: Transaction): void => {
    const facts = readFacts(transaction, repository);
    const removed = removePlanned(transaction, { repository, removals: plan(facts) });
    const links = removeLinks(transaction, request);
    collected = { ...removed, links };
    // The one way to know what a removal would lead to is to do it, and to take it back.
    if (dryRun) transaction.rollback();
    recorder.record(transaction, describeCollected(repository, collected));
  };
  try {
    database.transaction(step);
  } catch (error) {
    if (!dryRun || collected === undefined) throw error;
  }
  return collected ?? { tags: [], manifests: [], links: [] };
}

function describeCollected(repository: string, collected: Collected): readonly Change[] {
  return [
    ...collected.tags.map(({ name }): Change => ({ do: "untag", repository, tag: name })),
    ...collected.manifests.map(({ digest }): Change => ({ do: "remove", repository, digest })),
    ...collected.links.map(({ digest }): Change => ({ do: "unlink", repository, digest })),
  ];
}

/** Without the bodies. */
function readFacts(transaction: Transaction, repository: string): RepositoryFacts {
  const references = Map.groupBy(
    transaction
      .select({ manifest: manifestReferences.manifest, digest: manifestReferences.digest })
      .from(manifestReferences)
      .where(eq(manifestReferences.repository, repository))
      .all(),
    (row) => row.manifest,
  );
  const rows = transaction
    .select({
      digest: manifests.digest,
      sizeBytes: manifests.sizeBytes,
      subject: manifests.subject,
      pushedAt: manifests.pushedAt,
      pulledAt: manifestUses.pulledAt,
      touchedAt: manifestUses.touchedAt,
    })
    .from(manifests)
    .leftJoin(
      manifestUses,
      and(
        eq(manifestUses.repository, manifests.repository),
        eq(manifestUses.digest, manifests.digest),
      ),
    )
    .where(eq(manifests.repository, repository))
    .all();
  return {
    manifests: rows.map((row): ManifestFacts => ({
      ...row,
      subject: row.subject ?? undefined,
      pulledAt: row.pulledAt ?? undefined,
      touchedAt: row.touchedAt ?? undefined,
      references: (references.get(row.digest) ?? []).map((reference) => reference.digest),
    })),
    tags: transaction
      .select({ name: tags.name, digest: tags.digest, updatedAt: tags.updatedAt })
      .from(tags)
      .where(eq(tags.repository, repository))
      .all(),
  };
}

type Planned = { readonly repository: string; readonly removals: Removals };

function removePlanned(
  transaction: Transaction,
  { repository, removals }: Planned,
): Pick<Collected, "tags" | "manifests"> {
  const tagColumns = { name: tags.name, digest: tags.digest, updatedAt: tags.updatedAt };
  const named = inBatches(removals.tags, (names) =>
    transaction
      .delete(tags)
      .where(and(eq(tags.repository, repository), inArray(tags.name, names)))
      .returning(tagColumns)
      .all(),
  );
  // A foreign key would take these along, but nobody would hear of it.
  const pointing = inBatches(removals.manifests, (digests) =>
    transaction
      .delete(tags)
      .where(and(eq(tags.repository, repository), inArray(tags.digest, digests)))
      .returning(tagColumns)
      .all(),
  );
  const removed = inBatches(removals.manifests, (digests) =>
    transaction
      .delete(manifests)
      .where(and(eq(manifests.repository, repository), inArray(manifests.digest, digests)))
      .returning({
        digest: manifests.digest,
        mediaType: manifests.mediaType,
        sizeBytes: manifests.sizeBytes,
      })
      .all(),
  );
  return { tags: [...named, ...pointing], manifests: removed };
}

function removeLinks(
  transaction: Transaction,
  { repository, linkedUntil, spares }: CollectRequest,
): Collected["links"] {
  const needed = transaction
    .select({ one: sql`1` })
    .from(manifestReferences)
    .where(
      and(
        eq(manifestReferences.repository, repository),
        eq(manifestReferences.digest, repositoryBlobs.digest),
      ),
    );
  const links = transaction
    .select({
      digest: repositoryBlobs.digest,
      sizeBytes: sql<number>`coalesce(${blobs.sizeBytes}, 0)`,
      // Named by hand: the builder would take both tables for one.
      elsewhere: sql<number>`(select count(*) from repository_blobs others where others.digest = ${repositoryBlobs}.digest) - 1`,
    })
    .from(repositoryBlobs)
    .leftJoin(blobs, eq(blobs.digest, repositoryBlobs.digest))
    .where(
      and(
        eq(repositoryBlobs.repository, repository),
        lte(repositoryBlobs.linkedAt, linkedUntil),
        notExists(needed),
      ),
    )
    .all()
    .filter(({ digest }) => !spares(digest));
  deleteLinks(transaction, { repository, digests: links.map(({ digest }) => digest) });
  const unused = links.filter(({ elsewhere }) => elsewhere === 0).map(({ digest }) => digest);
  inBatches(unused, (batch) =>
    transaction.delete(blobs).where(inArray(blobs.digest, batch)).returning().all(),
  );
  return links;
}

function deleteLinks(
  transaction: Transaction,
  { repository, digests }: { readonly repository: string; readonly digests: readonly Digest[] },
): void {
  inBatches(digests, (batch) =>
    transaction
      .delete(repositoryBlobs)
      .where(
        and(eq(repositoryBlobs.repository, repository), inArray(repositoryBlobs.digest, batch)),
      )
      .returning({ digest: repositoryBlobs.digest })
      .all(),
  );
}

function inBatches<Item, Row>(
  items: readonly Item[],
  run: (batch: readonly Item[]) => readonly Row[],
): readonly Row[] {
  const rows: Row[] = [];
  for (let start = 0; start < items.length; start += BATCH) {
    rows.push(...run(items.slice(start, start + BATCH)));
  }
  return rows;
}

function recordUses(transaction: Transaction, uses: UseRecord): void {
  for (const { repository, digest, at } of uses.blobs) {
    transaction
      .update(repositoryBlobs)
      .set({ linkedAt: sql`max(${repositoryBlobs.linkedAt}, ${at})` })
      .where(and(eq(repositoryBlobs.repository, repository), eq(repositoryBlobs.digest, digest)))
      .run();
  }
  for (const { repository, digest, pulledAt, touchedAt } of uses.manifests) {
    touchManifest(transaction, { repository, digest, pulledAt, touchedAt });
  }
}

/** Keeps the later of what is there and what is given; passes over a manifest that is gone. */
function touchManifest(
  transaction: Transaction,
  { repository, digest, pulledAt, touchedAt }: UseRecord["manifests"][number],
): void {
  transaction.run(sql`
    insert into ${manifestUses} (repository, digest, pulled_at, touched_at)
    select repository, digest, ${pulledAt ?? null}, ${touchedAt ?? null} from ${manifests}
    where repository = ${repository} and digest = ${digest}
    on conflict (repository, digest) do update set
      pulled_at = nullif(max(coalesce(pulled_at, 0), coalesce(excluded.pulled_at, 0)), 0),
      touched_at = nullif(max(coalesce(touched_at, 0), coalesce(excluded.touched_at, 0)), 0)`);
}
