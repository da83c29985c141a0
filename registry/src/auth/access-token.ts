/** Access tokens of short life, as JWT (RFC 7519) signed with a key of this registry alone. */
import { isRepository } from "@strata/protocol/oci/reference";
import { jwtVerify, SignJWT } from "jose";
import { z } from "zod";

import type { Access } from "./scope.ts";

/** What a token says: who it was given to, and for what. `subject` is undefined for one without a name. */
export type AccessClaims = {
  readonly subject: string | undefined;
  readonly access: readonly Access[];
};

export type IssuedToken = {
  readonly token: string;
  readonly expiresInSeconds: number;
  /** Milliseconds since 1970. */
  readonly issuedAt: number;
};

export type AccessTokens = {
  readonly issue: (claims: AccessClaims) => Promise<IssuedToken>;
  /** Undefined for what is forged, expired or made for another registry. */
  readonly verify: (token: string) => Promise<AccessClaims | undefined>;
};

export type AccessTokenOptions = {
  /** At least 32 random bytes. Whoever has it can be anybody. */
  readonly key: Uint8Array;
  /** Names this registry in its tokens and challenges. */
  readonly service: string;
  readonly clock: () => number;
};

/** Short, since a token outlives a right that is taken away only by what `Accounts` knows. Clients renew by themselves. */
const LIFE_SECONDS = 300;
/** The one algorithm: never the token's own word for it. */
const ALGORITHM = "HS256";
/** A client sends one token with hundreds of requests: those that were verified lately are known again. */
const REMEMBERED_MAX = 1_000;
const TOKEN_LENGTH_MAX = 12_000;

const Claims = z.object({
  sub: z.string().optional(),
  exp: z.number(),
  access: z.array(
    z.object({
      type: z.enum(["repository", "registry"]),
      name: z.string().refine((name) => isRepository(name)),
      actions: z.array(z.enum(["pull", "push", "delete", "list"])),
    }),
  ),
});

type Remembered = { readonly claims: AccessClaims; readonly expiresAt: number };

export function createAccessTokens(options: AccessTokenOptions): AccessTokens {
  const { key, service, clock } = options;
  const remembered = new Map<string, Remembered>();
  const remember = (token: string, entry: Remembered): void => {
    const oldest = remembered.keys().next();
    if (remembered.size >= REMEMBERED_MAX && oldest.done !== true) remembered.delete(oldest.value);
    remembered.set(token, entry);
  };
  return {
    issue: async ({ subject, access }) => {
      const issuedAt = clock();
      const seconds = Math.floor(issuedAt / 1_000);
      const jwt = new SignJWT({ access })
        .setProtectedHeader({ alg: ALGORITHM, typ: "JWT" })
        .setIssuer(service)
        .setAudience(service)
        .setIssuedAt(seconds)
        .setExpirationTime(seconds + LIFE_SECONDS);
      if (subject !== undefined) jwt.setSubject(subject);
      return { token: await jwt.sign(key), expiresInSeconds: LIFE_SECONDS, issuedAt };
    },
    verify: async (token) => {
      const known = remembered.get(token);
      if (known !== undefined && known.expiresAt > clock()) return known.claims;
      remembered.delete(token);
      if (token.length > TOKEN_LENGTH_MAX) return undefined;
      const entry = await verifySignature(token, options);
      if (entry !== undefined) remember(token, entry);
      return entry?.claims;
    },
  };
}

async function verifySignature(
  token: string,
  { key, service, clock }: AccessTokenOptions,
): Promise<Remembered | undefined> {
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: [ALGORITHM],
      issuer: service,
      audience: service,
      currentDate: new Date(clock()),
    });
    const { sub, exp, access } = Claims.parse(payload);
    return { claims: { subject: sub, access }, expiresAt: exp * 1_000 };
  } catch {
    // Anything wrong with it has one answer: the caller is unknown.
    return undefined;
  }
}
