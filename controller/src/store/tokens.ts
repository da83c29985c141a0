import { asc, eq, gt, lt, sql as raw } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { keepStatements } from "./kept-statements.ts";
import type { Page } from "./page.ts";
import { joinTokens, tokens } from "./schema-access.ts";

export type TokenRow = typeof tokens.$inferSelect;
export type JoinTokenRow = typeof joinTokens.$inferSelect;

const getStatement = keepStatements((sql) =>
  sql
    .select()
    .from(tokens)
    .where(eq(tokens.id, raw.placeholder("id")))
    .prepare(),
);

export function getToken(sql: Sql, id: string): TokenRow | undefined {
  return getStatement(sql).get({ id });
}

export function getTokenByName(sql: Sql, name: string): TokenRow | undefined {
  return sql.select().from(tokens).where(eq(tokens.name, name)).get();
}

export function listTokens(sql: Sql, { after, limit }: Page): readonly TokenRow[] {
  return sql
    .select()
    .from(tokens)
    .where(gt(tokens.id, after))
    .orderBy(asc(tokens.id))
    .limit(limit)
    .all();
}

export function insertToken(sql: Sql, row: TokenRow): void {
  sql.insert(tokens).values(row).run();
}

export function setTokenLastUsed(sql: Sql, id: string, at: string): void {
  sql.update(tokens).set({ lastUsedAt: at }).where(eq(tokens.id, id)).run();
}

/** What a rotation changes. */
export function saveTokenSecret(
  sql: Sql,
  { id, secretHash, previousSecretHash, previousExpiresAt, expiresAt }: TokenRow,
): void {
  sql
    .update(tokens)
    .set({ secretHash, previousSecretHash, previousExpiresAt, expiresAt })
    .where(eq(tokens.id, id))
    .run();
}

export function deleteToken(sql: Sql, id: string): void {
  sql.delete(tokens).where(eq(tokens.id, id)).run();
}

export function getJoinToken(sql: Sql, id: string): JoinTokenRow | undefined {
  return sql.select().from(joinTokens).where(eq(joinTokens.id, id)).get();
}

/** Secrets are 256 random bits, so finding one by its hash tells an attacker nothing by its timing. */
export function getJoinTokenByHash(sql: Sql, secretHash: string): JoinTokenRow | undefined {
  return sql.select().from(joinTokens).where(eq(joinTokens.secretHash, secretHash)).get();
}

export function listJoinTokens(sql: Sql, { after, limit }: Page): readonly JoinTokenRow[] {
  return sql
    .select()
    .from(joinTokens)
    .where(gt(joinTokens.id, after))
    .orderBy(asc(joinTokens.id))
    .limit(limit)
    .all();
}

export function deleteJoinTokensOfPartition(sql: Sql, partition: string): void {
  sql.delete(joinTokens).where(eq(joinTokens.partition, partition)).run();
}

export function insertJoinToken(sql: Sql, row: JoinTokenRow): void {
  sql.insert(joinTokens).values(row).run();
}

export function setJoinTokenUses(sql: Sql, id: string, usesLeft: number): void {
  sql.update(joinTokens).set({ usesLeft }).where(eq(joinTokens.id, id)).run();
}

export function deleteJoinToken(sql: Sql, id: string): void {
  sql.delete(joinTokens).where(eq(joinTokens.id, id)).run();
}

/** Forgets those that expired before `before` (RFC 3339). */
export function deleteExpiredJoinTokens(sql: Sql, before: string): void {
  sql.delete(joinTokens).where(lt(joinTokens.expiresAt, before)).run();
}
