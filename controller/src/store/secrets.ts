import { and, asc, eq, gt, isNotNull, ne, or, sql as raw } from "drizzle-orm";

import type { Sql } from "./database.ts";
import type { Page } from "./page.ts";
import { generations, secrets, secretVersions, subscriptions } from "./schema.ts";

export type SecretRow = typeof secrets.$inferSelect;
export type SecretVersionRow = typeof secretVersions.$inferSelect;
export type SecretKey = { readonly tenant: string; readonly name: string };

export function getSecret(sql: Sql, key: SecretKey): SecretRow | undefined {
  return sql.select().from(secrets).where(ofKey(secrets, key)).get();
}

export function listSecretsOfTenant(
  sql: Sql,
  tenant: string,
  { after, limit }: Page,
): readonly SecretRow[] {
  return sql
    .select()
    .from(secrets)
    .where(and(eq(secrets.tenant, tenant), gt(secrets.name, after)))
    .orderBy(asc(secrets.name))
    .limit(limit)
    .all();
}

export function saveSecret(sql: Sql, row: SecretRow): void {
  sql
    .insert(secrets)
    .values(row)
    .onConflictDoUpdate({ target: [secrets.tenant, secrets.name], set: row })
    .run();
}

/** With all its versions. */
export function deleteSecret(sql: Sql, key: SecretKey): void {
  sql.delete(secrets).where(ofKey(secrets, key)).run();
  sql.delete(secretVersions).where(ofKey(secretVersions, key)).run();
}

export function getSecretVersion(
  sql: Sql,
  key: SecretKey & { readonly version: number },
): SecretVersionRow | undefined {
  return sql
    .select()
    .from(secretVersions)
    .where(and(ofKey(secretVersions, key), eq(secretVersions.version, key.version)))
    .get();
}

export function insertSecretVersion(sql: Sql, row: SecretVersionRow): void {
  sql.insert(secretVersions).values(row).run();
}

export function deleteSecretVersion(sql: Sql, key: SecretKey & { readonly version: number }): void {
  sql
    .delete(secretVersions)
    .where(and(ofKey(secretVersions, key), eq(secretVersions.version, key.version)))
    .run();
}

/** Versions that are not the newest of their secret. */
export function listOldSecretVersions(
  sql: Sql,
  tenant: string,
): readonly Pick<SecretVersionRow, "name" | "version">[] {
  return sql
    .select({ name: secretVersions.name, version: secretVersions.version })
    .from(secretVersions)
    .innerJoin(
      secrets,
      ofKey(secrets, { tenant: secretVersions.tenant, name: secretVersions.name }),
    )
    .where(and(eq(secretVersions.tenant, tenant), ne(secretVersions.version, secrets.version)))
    .all();
}

/** What the tenant's generations say of secrets: the files and variables of each that has any. */
export function listSpecsWithSecrets(
  sql: Sql,
  tenant: string,
): readonly (typeof generations.$inferSelect)["spec"][] {
  return sql
    .select({ spec: generations.spec })
    .from(generations)
    .innerJoin(subscriptions, eq(subscriptions.id, generations.subscriptionId))
    .where(
      and(
        eq(subscriptions.tenant, tenant),
        or(
          isNotNull(raw`json_extract(${generations.spec}, '$.secretEnv')`),
          isNotNull(raw`json_extract(${generations.spec}, '$.files')`),
        ),
      ),
    )
    .all()
    .map(({ spec }) => spec);
}

type Keyed = Pick<typeof secrets | typeof secretVersions, "tenant" | "name">;
type KeyValues = {
  readonly tenant: string | typeof secretVersions.tenant;
  readonly name: string | typeof secretVersions.name;
};

function ofKey(table: Keyed, { tenant, name }: KeyValues): ReturnType<typeof and> {
  return and(eq(table.tenant, tenant), eq(table.name, name));
}
