import { formatJoinToken } from "@strata/protocol/agent/join-token";
import type { JoinTokenInput, TokenInput } from "@strata/protocol/api/resources";
import type { z } from "zod";

import { formatCredential, hashSecret } from "../access/secret.ts";
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
  type TokenRow,
} from "../store/tokens.ts";
import type { Unit } from "../store/unit.ts";
import { requireFound, requireReference } from "./upsert.ts";

const DATE_MS_MAX = 8_640_000_000_000_000;

/** The token in the answer is shown this once. @throws ControllerError NAME_TAKEN */
export function createToken(
  unit: Unit,
  { input, secret }: { readonly input: z.output<typeof TokenInput>; readonly secret: string },
): { readonly row: TokenRow; readonly token: string } {
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
    expiresAt: input.expiresIn === undefined ? null : expiry(unit, input.expiresIn),
    lastUsedAt: null,
  };
  insertToken(unit.sql, row);
  unit.emit({
    type: "token.created",
    subject: row.name,
    message: `token ${row.name} with scope ${row.scope} was made`,
    data: { id: row.id, scope: row.scope, tenant: row.tenant },
  });
  return { row, token: formatCredential({ id: row.id, secret }) };
}

/** Ends the token at once. */
export function revokeToken(unit: Unit, id: string): void {
  const row = requireFound(getToken(unit.sql, id), { kind: "token", name: id });
  deleteToken(unit.sql, id);
  unit.emit({
    type: "token.deleted",
    subject: row.name,
    message: `token ${row.name} was revoked`,
    data: { id },
  });
}

/** The token in the answer is shown this once. @throws ControllerError REFERENCE_UNKNOWN */
export function createJoinToken(
  unit: Unit,
  options: {
    readonly input: z.output<typeof JoinTokenInput>;
    readonly secret: string;
    readonly caFingerprint: string;
  },
): { readonly row: JoinTokenRow; readonly token: string } {
  const { input, secret, caFingerprint } = options;
  const exists = getPartition(unit.sql, input.partition) !== undefined;
  requireReference(exists, { kind: "partition", name: input.partition });
  const row: JoinTokenRow = {
    id: `join-${unit.newId()}`,
    partition: input.partition,
    secretHash: hashSecret(secret),
    usesLeft: input.uses,
    expiresAt: expiry(unit, input.expiresIn),
    createdAt: unit.now,
  };
  insertJoinToken(unit.sql, row);
  unit.emit({
    type: "join-token.created",
    subject: row.id,
    message: `a join token for partition ${row.partition} was made`,
    data: { uses: row.usesLeft, expiresAt: row.expiresAt },
  });
  return { row, token: formatJoinToken({ id: row.id, secret, caFingerprint }) };
}

export function revokeJoinToken(unit: Unit, id: string): void {
  requireFound(getJoinToken(unit.sql, id), { kind: "join token", name: id });
  deleteJoinToken(unit.sql, id);
  unit.emit({ type: "join-token.deleted", subject: id, message: `join token ${id} was revoked` });
}

function expiry(unit: Unit, lifetimeMs: number): string {
  return new Date(Math.min(DATE_MS_MAX, unit.nowMs + lifetimeMs)).toISOString();
}
