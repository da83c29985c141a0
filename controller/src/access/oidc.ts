/** Tokens of an OIDC issuer as credentials: JWT (RFC 7519) with the checks of RFC 8725. */
import { decodeJwt, errors, jwtVerify, type JWTPayload } from "jose";

import { ControllerError } from "../errors.ts";
import type { Sql } from "../store/database.ts";
import { getTenant } from "../store/tenants.ts";
import type { Authenticate, FindPrincipal, Principal } from "./authenticate.ts";
import { createOidcKeys, type OidcKeys } from "./oidc-keys.ts";
import { grantOf, type OidcRule } from "./oidc-rules.ts";

export type OidcSettings = {
  readonly issuer: string;
  readonly audience: string;
  readonly rules: readonly OidcRule[];
};

export type OidcOptions = {
  readonly settings: OidcSettings;
  readonly sql: Sql;
  readonly clock: { readonly nowMs: () => number; readonly monotonicMs: () => number };
};

export type Oidc = {
  /** @throws ControllerError UNAUTHENTICATED, FORBIDDEN, ISSUER_UNREACHABLE */
  readonly authenticate: (jwt: string) => Promise<Principal>;
  /** Who showed a token a short while ago that is still good. */
  readonly find: FindPrincipal;
};

/** Public keys alone: with `none` everybody, and with a shared secret everybody who knows the public key, could sign. */
const ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
];
const SKEW_SECONDS = 60;
/** Of whom the store remembers that he logged in. */
const REMEMBERED_MAX = 10_000;

type Remembered = { readonly principal: Principal; readonly expiresAtMs: number };

export function createOidc({ settings, sql, clock }: OidcOptions): Oidc {
  const keys = createOidcKeys({ issuer: settings.issuer, monotonicMs: clock.monotonicMs });
  const remembered = new Map<string, Remembered>();
  const remember = (entry: Remembered): void => {
    const { id } = entry.principal;
    remembered.delete(id);
    const oldest = remembered.keys().next();
    if (remembered.size >= REMEMBERED_MAX && oldest.done !== true) remembered.delete(oldest.value);
    remembered.set(id, entry);
  };
  return {
    authenticate: async (jwt) => {
      const claims = await verify(jwt, { keys, settings, nowMs: clock.nowMs() });
      const principal = toPrincipal(claims, settings, sql);
      remember({ principal, expiresAtMs: (claims.exp ?? 0) * 1000 });
      return principal;
    },
    find: (id) => {
      const entry = remembered.get(id);
      return entry !== undefined && entry.expiresAtMs > clock.nowMs() ? entry.principal : undefined;
    },
  };
}

/** JWTs go to the issuer's rules, all else is a token of ours. */
export function withOidc(
  authenticate: Authenticate,
  oidc: Pick<Oidc, "authenticate">,
): Authenticate {
  return (text) => (isJwt(text) ? oidc.authenticate(text) : authenticate(text));
}

/** Its first part is `{"` in base64url; our own tokens begin with `strata_`. */
function isJwt(text: string): boolean {
  return /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/.test(text);
}

type Verification = {
  readonly keys: OidcKeys;
  readonly settings: OidcSettings;
  readonly nowMs: number;
};

async function verify(
  jwt: string,
  { keys, settings: { issuer, audience }, nowMs }: Verification,
): Promise<JWTPayload> {
  const options = {
    issuer,
    audience,
    algorithms: ALGORITHMS,
    clockTolerance: SKEW_SECONDS,
    currentDate: new Date(nowMs),
    requiredClaims: ["sub", "exp"],
  };
  try {
    // Before anything is fetched for it: tokens of others come as well, such as the store's own.
    if (decodeJwt(jwt).iss !== issuer) throw new errors.JWTInvalid("another issuer");
    const known = await keys.get();
    try {
      return (await jwtVerify(jwt, known, options)).payload;
    } catch (error) {
      // The issuer may have a new key.
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      return (await jwtVerify(jwt, await keys.get({ isUnknown: true }), options)).payload;
    }
  } catch (error) {
    if (error instanceof errors.JOSEError) throw invalid(error);
    throw error;
  }
}

/** The reason helps whoever set it up, and tells a forger nothing that he does not know. */
function invalid(cause: errors.JOSEError): ControllerError {
  return new ControllerError(
    "UNAUTHENTICATED",
    `the token of the issuer is not good: ${cause.code}`,
    {
      cause,
      hint: "get a new token of the issuer for this audience: see STRATA_OIDC_ISSUER and STRATA_OIDC_AUDIENCE",
    },
  );
}

/** @throws ControllerError FORBIDDEN */
function toPrincipal(claims: JWTPayload, { issuer, rules }: OidcSettings, sql: Sql): Principal {
  const granted = grantOf(rules, claims);
  if (granted === undefined) {
    throw new ControllerError("FORBIDDEN", "no rule gives this token of the issuer a scope", {
      hint: "have the operator add a rule for its claims to the file of STRATA_OIDC_RULES",
    });
  }
  if (getTenant(sql, granted.tenant) === undefined) {
    throw new ControllerError("FORBIDDEN", `there is no tenant ${granted.tenant}`, {
      hint: `an admin makes it: PUT /v1/tenants/${granted.tenant}`,
    });
  }
  const subject = String(claims.sub).slice(0, SUBJECT_LENGTH_MAX);
  return { ...granted, id: `${issuer}#${subject}`, nodeId: undefined, ratePerMinute: null };
}

const SUBJECT_LENGTH_MAX = 256;
