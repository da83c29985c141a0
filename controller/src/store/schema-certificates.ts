/** Tables of the certificates that ingresses show. Keys are sealed as secrets are. */
import { integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";

import type { CertificateFacts, CertificateSpec } from "../domain/certificates/model.ts";
import { stored } from "./columns.ts";

export const certificates = sqliteTable(
  "certificates",
  {
    tenant: text().notNull(),
    name: text().notNull(),
    spec: text({ mode: "json" }).$type<CertificateSpec>().notNull(),
    /** PEM; null until there is one. */
    chain: text(),
    sealedKey: text(),
    facts: text({ mode: "json" }).$type<CertificateFacts>(),
    /** The revision that asked for the present one. */
    issuedRevision: integer(),
    /** Tries since the last that went well. */
    failures: integer().notNull(),
    problem: text(),
    nextTryAt: text(),
    ...stored,
  },
  (table) => [primaryKey({ columns: [table.tenant, table.name] })],
);

/** What our CA signed for hosts that no certificate of their tenant covers. */
export const hostCertificates = sqliteTable("host_certificates", {
  host: text().primaryKey(),
  tenant: text().notNull(),
  chain: text().notNull(),
  sealedKey: text().notNull(),
  facts: text({ mode: "json" }).$type<CertificateFacts>().notNull(),
});

/** Who a tenant is to an ACME server. */
export const acmeAccounts = sqliteTable(
  "acme_accounts",
  {
    tenant: text().notNull(),
    directory: text().notNull(),
    /** Of the external account; empty without one. */
    keyId: text().notNull(),
    sealedKey: text().notNull(),
    createdAt: text().notNull(),
  },
  (table) => [primaryKey({ columns: [table.tenant, table.directory, table.keyId] })],
);

/** What ingresses answer while certificates are ordered (RFC 8555, 8.3). */
export const acmeChallenges = sqliteTable("acme_challenges", {
  token: text().primaryKey(),
  answer: text().notNull(),
});
