import { formatJoinToken } from "@strata/protocol/agent/join-token";
import type { JoinTokenInput } from "@strata/protocol/api/resources";
import type { RotateInput, TokenInput } from "@strata/protocol/api/tokens";
import type { z } from "zod";

import { ADMIN_TOKEN_NAME } from "../access/admin-token.ts";
import { formatCredential, hashSecret, secretMatches } from "../access/secret.ts";
import { ControllerError } from "../errors.ts";
import { getPartition } from "../store/partitions.ts";
import {
  deleteJoinToken,
  deleteToken,
  getJoinToken,
  getToken,
  getTokenByName,
  insertJoinToken,
  insertToken,
  type JoinTokenRow,
  saveTokenSecret,
  type TokenRow,
} from "../store/tokens.ts";
import type { Unit } from "../store/unit.ts";
import { requireTenant } from "./tenants.ts";
import { requireFound, requireReference } from "./upsert.ts";

const DATE_MS_MAX = 8_640_000_000_000_000;

/** The token in the answer is shown this once. @throws ControllerError NAME_TAKEN, REFERENCE_UNKNOWN */
export function createToken(
  unit: Unit,
  { input, secret }: { readonly input: z.output<typeof TokenInput>; readonly secret: string },
): NewToken {
  requireTenant(unit, input.tenant);
  if (getTokenByName(unit.sql, input.name) !== undefined) {
    throw new ControllerError("NAME_TAKEN", `there is a token ${input.name} already`, {
      hint: "choose another name, or delete that one first",
    });
  }
  const row: TokenRow = {
    id: `token-${unit.newId()}`,
    name: input.name,
    scope: input.scope,
    tenant: input.tenant,
    secretHash: hashSecret(secret),
    createdAt: unit.now,
    previousSecretHash: null,
    previousExpiresAt: null,
    ratePerMinute: input.ratePerMinute ?? null,
    expiresAt: input.expiresIn === undefined ? null : expiry(unit, input.expiresIn),
    lastUsedAt: null,
  };
  insertToken(unit.sql, row);
  unit.emit({
    type: "token.created",
    tenant: row.tenant,
    subject: row.name,
    message: `token ${row.name} with scope ${row.scope} was made`,
    data: { id: row.id, scope: row.scope, tenant: row.tenant },
  });
  return { row, token: formatCredential({ id: row.id, secret }) };
}

type NewToken = { readonly row: TokenRow; readonly token: string };

/** A new secret under the same id, name and rights; the old one is good for the overlap. A secret from an earlier
 * rotation ends at once: there are never more than two.
 * @throws ControllerError INVALID for the admin token, which is what its file says. */
export function rotateToken(
  unit: Unit,
  {
    id,
    input,
    secret,
  }: { readonly id: string; readonly input: z.output<typeof RotateInput>; readonly secret: string },
): NewToken {
  const row = requireFound(getToken(unit.sql, id), { kind: "token", name: id });
  if (row.name === ADMIN_TOKEN_NAME) {
    throw new ControllerError("INVALID", "the admin token is what the file admin-token says", {
      hint: "delete the file and start the controller again: a new one is written to it",
    });
  }
  const overlapEnds = input.overlap === 0 ? null : expiry(unit, input.overlap);
  const next: TokenRow = {
    ...row,
    secretHash: hashSecret(secret),
    previousSecretHash: overlapEnds === null ? null : row.secretHash,
    previousExpiresAt: overlapEnds,
    expiresAt: input.expiresIn === undefined ? row.expiresAt : expiry(unit, input.expiresIn),
  };
  saveTokenSecret(unit.sql, next);
  unit.emit({
    type: "token.rotated",
    tenant: row.tenant,
    subject: row.name,
    message:
      overlapEnds === null
        ? `token ${row.name} has a new secret`
        : `token ${row.name} has a new secret; the old one is good until ${overlapEnds}`,
    data: { id },
  });
  return { row: next, token: formatCredential({ id, secret }) };
}

/** Ends the token at once. */
export function revokeToken(unit: Unit, id: string): void {
  const row = requireFound(getToken(unit.sql, id), { kind: "token", name: id });
  deleteToken(unit.sql, id);
  unit.emit({
    type: "token.deleted",
    tenant: row.tenant,
    subject: row.name,
    message: `token ${row.name} was revoked`,
    data: { id },
  });
}

/** How join tokens are made: their secrets come from their ids by a key that no database holds. */
export type JoinAuthority = {
  readonly joinSecret: (tokenId: string) => string;
  readonly caFingerprint: string;
};

/** @throws ControllerError REFERENCE_UNKNOWN */
export function createJoinToken(
  unit: Unit,
  options: { readonly input: z.output<typeof JoinTokenInput>; readonly authority: JoinAuthority },
): { readonly row: JoinTokenRow; readonly token: string } {
  const { input, authority } = options;
  const exists = getPartition(unit.sql, input.partition) !== undefined;
  requireReference(exists, { kind: "partition", name: input.partition });
  const row = insertNewJoinToken(unit, {
    partition: input.partition,
    uses: input.uses,
    lifetimeMs: input.expiresIn,
    authority,
  });
  unit.emit({
    type: "join-token.created",
    subject: row.id,
    message: `a join token for partition ${row.partition} was made`,
    data: { uses: row.usesLeft, expiresAt: row.expiresAt },
  });
  return { row, token: formatJoinTokenOf(row.id, authority) };
}

/** Says nothing about it: whoever makes one for a VM speaks of the VM. */
export function insertNewJoinToken(
  unit: Unit,
  options: {
    readonly partition: string;
    readonly uses: number;
    readonly lifetimeMs: number;
    readonly authority: JoinAuthority;
  },
): JoinTokenRow {
  const { partition, uses, lifetimeMs, authority } = options;
  const id = `join-${unit.newId()}`;
  const row: JoinTokenRow = {
    id,
    partition,
    secretHash: hashSecret(authority.joinSecret(id)),
    usesLeft: uses,
    expiresAt: expiry(unit, lifetimeMs),
    createdAt: unit.now,
  };
  insertJoinToken(unit.sql, row);
  return row;
}

/** The token again, for as long as it is good for something.
 * @throws ControllerError NOT_FOUND, also for one that is used up, expired or of another CA. */
export function revealJoinToken(
  { sql, nowMs }: Pick<Unit, "sql" | "nowMs">,
  id: string,
  authority: JoinAuthority,
): string {
  const row = requireFound(getJoinToken(sql, id), { kind: "join token", name: id });
  const isKnown = secretMatches(authority.joinSecret(id), row.secretHash);
  if (isKnown && row.usesLeft > 0 && Date.parse(row.expiresAt) > nowMs)
    return formatJoinTokenOf(id, authority);
  throw new ControllerError("NOT_FOUND", `join token ${id} lets nobody join any more`, {
    hint: "make a new one: POST /v1/join-tokens",
  });
}

/** The whole token, whatever its row says. */
export function formatJoinTokenOf(
  id: string,
  { joinSecret, caFingerprint }: JoinAuthority,
): string {
  return formatJoinToken({ id, secret: joinSecret(id), caFingerprint });
}

export function revokeJoinToken(unit: Unit, id: string): void {
  requireFound(getJoinToken(unit.sql, id), { kind: "join token", name: id });
  deleteJoinToken(unit.sql, id);
  unit.emit({ type: "join-token.deleted", subject: id, message: `join token ${id} was revoked` });
}

function expiry(unit: Unit, lifetimeMs: number): string {
  return new Date(Math.min(DATE_MS_MAX, unit.nowMs + lifetimeMs)).toISOString();
}
