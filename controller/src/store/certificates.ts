import { and, asc, count, eq, gt, inArray, isNotNull, ne, sql as raw } from "drizzle-orm";

import type { Sql } from "./database.ts";
import type { Page } from "./page.ts";
import {
  acmeAccounts,
  acmeChallenges,
  certificates,
  hostCertificates,
} from "./schema-certificates.ts";

export type CertificateRow = typeof certificates.$inferSelect;
export type HostCertificateRow = typeof hostCertificates.$inferSelect;
export type AcmeAccountRow = typeof acmeAccounts.$inferSelect;
export type CertificateKey = { readonly tenant: string; readonly name: string };

export function getCertificate(sql: Sql, key: CertificateKey): CertificateRow | undefined {
  return sql.select().from(certificates).where(ofKey(key)).get();
}

export function listCertificatesOfTenant(
  sql: Sql,
  tenant: string,
  { after, limit }: Page,
): readonly CertificateRow[] {
  return sql
    .select()
    .from(certificates)
    .where(and(eq(certificates.tenant, tenant), gt(certificates.name, after)))
    .orderBy(asc(certificates.name))
    .limit(limit)
    .all();
}

export function countCertificates(sql: Sql, tenant: string): number {
  const counted = sql
    .select({ count: count() })
    .from(certificates)
    .where(eq(certificates.tenant, tenant))
    .get();
  return counted?.count ?? 0;
}

export function saveCertificate(sql: Sql, row: CertificateRow): void {
  sql
    .insert(certificates)
    .values(row)
    .onConflictDoUpdate({ target: [certificates.tenant, certificates.name], set: row })
    .run();
}

export function deleteCertificate(sql: Sql, key: CertificateKey): void {
  sql.delete(certificates).where(ofKey(key)).run();
}

/** What decides when each is asked for: all that are not given. */
export function listAwaited(
  sql: Sql,
): readonly Pick<
  CertificateRow,
  "tenant" | "name" | "spec" | "facts" | "revision" | "issuedRevision" | "nextTryAt" | "failures"
>[] {
  return sql
    .select({
      tenant: certificates.tenant,
      name: certificates.name,
      spec: certificates.spec,
      facts: certificates.facts,
      revision: certificates.revision,
      issuedRevision: certificates.issuedRevision,
      nextTryAt: certificates.nextTryAt,
      failures: certificates.failures,
    })
    .from(certificates)
    .where(ne(raw`json_extract(${certificates.spec}, '$.source')`, "given"))
    .all();
}

/** Every certificate that there is, without its key. */
export function listIssued(
  sql: Sql,
): readonly { readonly tenant: string; readonly name: string; readonly facts: Facts }[] {
  return sql
    .select({ tenant: certificates.tenant, name: certificates.name, facts: certificates.facts })
    .from(certificates)
    .where(isNotNull(certificates.facts))
    .all()
    .flatMap(({ facts, ...key }) => (facts === null ? [] : [{ ...key, facts }]));
}
type Facts = NonNullable<CertificateRow["facts"]>;

export function getHostCertificate(sql: Sql, host: string): HostCertificateRow | undefined {
  return sql.select().from(hostCertificates).where(eq(hostCertificates.host, host)).get();
}

/** Without their keys. */
export function listHostCertificates(
  sql: Sql,
): readonly Pick<HostCertificateRow, "host" | "tenant" | "facts">[] {
  const { host, tenant, facts } = hostCertificates;
  return sql.select({ host, tenant, facts }).from(hostCertificates).all();
}

export function saveHostCertificate(sql: Sql, row: HostCertificateRow): void {
  sql
    .insert(hostCertificates)
    .values(row)
    .onConflictDoUpdate({ target: hostCertificates.host, set: row })
    .run();
}

export function deleteHostCertificate(sql: Sql, host: string): void {
  sql.delete(hostCertificates).where(eq(hostCertificates.host, host)).run();
}

export function getAcmeAccount(
  sql: Sql,
  { tenant, directory, keyId }: Pick<AcmeAccountRow, "tenant" | "directory" | "keyId">,
): AcmeAccountRow | undefined {
  return sql
    .select()
    .from(acmeAccounts)
    .where(
      and(
        eq(acmeAccounts.tenant, tenant),
        eq(acmeAccounts.directory, directory),
        eq(acmeAccounts.keyId, keyId),
      ),
    )
    .get();
}

export function saveAcmeAccount(sql: Sql, row: AcmeAccountRow): void {
  const { tenant, directory, keyId } = acmeAccounts;
  sql
    .insert(acmeAccounts)
    .values(row)
    .onConflictDoUpdate({ target: [tenant, directory, keyId], set: row })
    .run();
}

export function listChallenges(sql: Sql): (typeof acmeChallenges.$inferSelect)[] {
  return sql.select().from(acmeChallenges).all();
}

export function saveChallenges(
  sql: Sql,
  rows: readonly (typeof acmeChallenges.$inferSelect)[],
): void {
  if (rows.length > 0)
    sql
      .insert(acmeChallenges)
      .values([...rows])
      .onConflictDoNothing()
      .run();
}

export function deleteChallenges(sql: Sql, tokens: readonly string[]): void {
  if (tokens.length === 0) return;
  sql
    .delete(acmeChallenges)
    .where(inArray(acmeChallenges.token, [...tokens]))
    .run();
}

/** Those of orders that the end of the program broke off. */
export function deleteAllChallenges(sql: Sql): void {
  sql.delete(acmeChallenges).run();
}

function ofKey({ tenant, name }: CertificateKey): ReturnType<typeof and> {
  return and(eq(certificates.tenant, tenant), eq(certificates.name, name));
}
