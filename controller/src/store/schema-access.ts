/** Tables of who may do what, and who did. */
import type { Scope } from "@strata/protocol/access";
import type { TenantQuota } from "@strata/protocol/api/tenants";
import { index, integer, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";

import { stored } from "./columns.ts";
import { partitions } from "./schema.ts";

export const joinTokens = sqliteTable("join_tokens", {
  id: text().primaryKey(),
  partition: text()
    .notNull()
    .references(() => partitions.name),
  secretHash: text().notNull().unique(),
  usesLeft: integer().notNull(),
  expiresAt: text().notNull(),
  createdAt: text().notNull(),
});

export const tokens = sqliteTable(
  "tokens",
  {
    id: text().primaryKey(),
    name: text().notNull(),
    scope: text().$type<Scope>().notNull(),
    tenant: text().notNull(),
    secretHash: text().notNull(),
    /** Of the secret before the last rotation, and until when it is good. */
    previousSecretHash: text(),
    previousExpiresAt: text(),
    /** Requests; null is as the installation has it. */
    ratePerMinute: integer(),
    createdAt: text().notNull(),
    expiresAt: text(),
    lastUsedAt: text(),
  },
  (table) => [uniqueIndex("tokens_name").on(table.name)],
);

/** Who shares this installation. A tenant that has no row has no limits. */
export const tenants = sqliteTable("tenants", {
  name: text().primaryKey(),
  description: text().notNull(),
  quota: text({ mode: "json" }).$type<TenantQuota>().notNull(),
  ...stored,
});

/** Every request that would change something, also those that were refused. Append-only: triggers refuse the rest. */
export const audit = sqliteTable(
  "audit",
  {
    id: integer().primaryKey({ autoIncrement: true }),
    at: text().notNull(),
    /** The id of the token, or `issuer#subject` of OIDC. */
    principal: text().notNull(),
    scope: text().$type<Scope>(),
    tenant: text().notNull(),
    address: text().notNull(),
    method: text().notNull(),
    path: text().notNull(),
    status: integer().notNull(),
    /** Of the problem, where there was one. */
    code: text(),
    requestId: text().notNull(),
  },
  (table) => [index("audit_tenant").on(table.tenant, table.id)],
);
