import { integer, text } from "drizzle-orm/sqlite-core";

/** Columns are built anew by each table that spreads these. */
export const stored = {
  /** The ETag: grows by one with each change that a PUT makes. */
  revision: integer().notNull(),
  createdAt: text().notNull(),
  updatedAt: text().notNull(),
};
