import type { Digest } from "@strata/protocol/oci/digest";
import {
  blob,
  foreignKey,
  index,
  integer,
  primaryKey,
  sqliteTable,
  text,
} from "drizzle-orm/sqlite-core";

/** After a change here: `pnpm exec drizzle-kit generate` in registry/, and commit the migration that it writes. */

/** Every repository that ever received something. */
export const repositories = sqliteTable("repositories", {
  name: text().primaryKey(),
  createdAt: integer().notNull(),
});

/** The blobs whose bytes are in the blob store. */
export const blobs = sqliteTable("blobs", {
  digest: text().$type<Digest>().primaryKey(),
  sizeBytes: integer().notNull(),
  createdAt: integer().notNull(),
});

/** Which repository has which blob. May name a blob whose bytes were lost: a new push brings it back for all. */
export const repositoryBlobs = sqliteTable(
  "repository_blobs",
  {
    repository: text()
      .notNull()
      .references(() => repositories.name),
    digest: text().$type<Digest>().notNull(),
    /** When it was last pushed, mounted or looked for: the collector's grace counts from here. */
    linkedAt: integer().notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.repository, table.digest] }),
    index("repository_blobs_digest").on(table.digest),
  ],
);

export const uploads = sqliteTable(
  "uploads",
  {
    id: text().primaryKey(),
    repository: text().notNull(),
    subject: text().notNull(),
    updatedAt: integer().notNull(),
  },
  (table) => [
    index("uploads_subject").on(table.subject),
    index("uploads_updated_at").on(table.updatedAt),
  ],
);

export const manifests = sqliteTable(
  "manifests",
  {
    repository: text()
      .notNull()
      .references(() => repositories.name),
    digest: text().$type<Digest>().notNull(),
    mediaType: text().notNull(),
    sizeBytes: integer().notNull(),
    subject: text().$type<Digest>(),
    artifactType: text(),
    /** The descriptor for the referrers list, as JSON. */
    referrer: text(),
    pushedAt: integer().notNull(),
    /** Last, so that reading the other columns never walks its overflow pages. */
    body: blob({ mode: "buffer" }).notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.repository, table.digest] }),
    index("manifests_subject").on(table.repository, table.subject, table.digest),
  ],
);

/** What each manifest needs: layers, config, children. The subject is no need of its referrer. */
export const manifestReferences = sqliteTable(
  "manifest_references",
  {
    repository: text().notNull(),
    manifest: text().$type<Digest>().notNull(),
    digest: text().$type<Digest>().notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.repository, table.manifest, table.digest] }),
    foreignKey({
      columns: [table.repository, table.manifest],
      foreignColumns: [manifests.repository, manifests.digest],
    }).onDelete("cascade"),
    index("manifest_references_digest").on(table.repository, table.digest),
  ],
);

export const tags = sqliteTable(
  "tags",
  {
    repository: text().notNull(),
    name: text().notNull(),
    digest: text().$type<Digest>().notNull(),
    updatedAt: integer().notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.repository, table.name] }),
    foreignKey({
      columns: [table.repository, table.digest],
      foreignColumns: [manifests.repository, manifests.digest],
    }).onDelete("cascade"),
    index("tags_digest").on(table.repository, table.digest),
  ],
);

/** When a manifest was last of use to somebody. Beside `manifests`, because a column behind its body costs a walk. */
export const manifestUses = sqliteTable(
  "manifest_uses",
  {
    repository: text().notNull(),
    digest: text().$type<Digest>().notNull(),
    /** Somebody read it. */
    pulledAt: integer(),
    /** Somebody asked whether it is there, or a tag left it. */
    touchedAt: integer(),
  },
  (table) => [
    primaryKey({ columns: [table.repository, table.digest] }),
    foreignKey({
      columns: [table.repository, table.digest],
      foreignColumns: [manifests.repository, manifests.digest],
    }).onDelete("cascade"),
  ],
);

/** How far a task that goes on after a restart has come. */
export const progress = sqliteTable("progress", {
  task: text().primaryKey(),
  position: text().notNull(),
});
