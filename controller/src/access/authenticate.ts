import type { Scope } from "@strata/protocol/access";

import type { Clock } from "../domain/clock.ts";
import type { Sql } from "../store/database.ts";
import { getNode } from "../store/nodes.ts";
import { getToken, setTokenLastUsed, type TokenRow } from "../store/tokens.ts";
import { readCredential, secretMatches } from "./secret.ts";

/** Who asks. */
export type Principal = {
  readonly id: string;
  readonly scope: Scope;
  readonly tenant: string;
  /** Set for an agent: the one node that it speaks for. */
  readonly nodeId: string | undefined;
  /** Requests it may send in a minute; null is as the installation has it. */
  readonly ratePerMinute: number | null;
};

/** Undefined for what is no valid credential.
 * @throws ControllerError UNAUTHENTICATED with the reason, where a token of an OIDC issuer has one, ISSUER_UNREACHABLE */
export type Authenticate = (
  credential: string,
) => Principal | undefined | Promise<Principal | undefined>;

/** By the id alone, for who showed the credential a short while ago. Undefined once it is revoked or expired. */
export type FindPrincipal = (id: string) => Principal | undefined;

/** Times of last use are written at most this often for each token. */
const LAST_USED_EVERY_MS = 60_000;

/** Knows API tokens and the credentials of nodes. Unknown, expired and revoked are the same to the caller. */
export function createAuthenticate(sql: Sql, clock: Clock): Authenticate {
  return (text) => {
    const credential = readCredential(text);
    if (credential === undefined) return undefined;
    const { id, secret } = credential;
    if (id.startsWith("node-")) {
      const node = getNode(sql, id);
      if (node === undefined || !secretMatches(secret, node.credentialHash)) return undefined;
      return agentPrincipal(id);
    }
    const token = getToken(sql, id);
    const nowMs = clock.nowMs();
    if (token === undefined || !holdsSecret(token, secret, nowMs)) return undefined;
    if (hasExpired(token, nowMs)) return undefined;
    if (nowMs - Date.parse(token.lastUsedAt ?? token.createdAt) >= LAST_USED_EVERY_MS)
      setTokenLastUsed(sql, id, new Date(nowMs).toISOString());
    return tokenPrincipal(token);
  };
}

export function createFindPrincipal(sql: Sql, clock: Clock): FindPrincipal {
  return (id) => {
    if (id.startsWith("node-")) return getNode(sql, id) && agentPrincipal(id);
    const token = getToken(sql, id);
    return token === undefined || hasExpired(token, clock.nowMs())
      ? undefined
      : tokenPrincipal(token);
  };
}

/** The present secret, or the one before for as long as their overlap lasts. */
function holdsSecret(token: TokenRow, secret: string, nowMs: number): boolean {
  if (secretMatches(secret, token.secretHash)) return true;
  const { previousSecretHash, previousExpiresAt } = token;
  return (
    previousSecretHash !== null &&
    previousExpiresAt !== null &&
    nowMs < Date.parse(previousExpiresAt) &&
    secretMatches(secret, previousSecretHash)
  );
}

function hasExpired({ expiresAt }: TokenRow, nowMs: number): boolean {
  return expiresAt !== null && Date.parse(expiresAt) <= nowMs;
}

function agentPrincipal(id: string): Principal {
  return { id, scope: "agent", tenant: "default", nodeId: id, ratePerMinute: null };
}

function tokenPrincipal({ id, scope, tenant, ratePerMinute }: TokenRow): Principal {
  return { id, scope, tenant, nodeId: undefined, ratePerMinute };
}
