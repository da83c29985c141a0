/** Log-in by Basic and by Bearer, as the distribution token specification has it. */
import type { Authorize, AuthorizeRequest, AuthorizeResult } from "../authorize.ts";
import type { AccessTokens } from "./access-token.ts";
import type { Account, Accounts } from "./accounts.ts";
import { readAuthorization } from "./authorization-header.ts";
import { type Access, coversRequest, scopeFor } from "./scope.ts";

export type TokenAuthOptions = {
  readonly accounts: Accounts;
  readonly tokens: AccessTokens;
  /** As in the tokens. */
  readonly service: string;
  /** The absolute URL of the token endpoint for a client that reached us at this origin. Undefined where we cannot
   * know it, as behind a proxy: then the challenge is for Basic. */
  readonly findRealm: (origin: string | undefined) => string | undefined;
};

/** A caller, and what his access token limits him to; undefined when he showed himself and no access token. */
type Caller = { readonly account: Account; readonly access: readonly Access[] | undefined };

/** Asks for a log-in at `/v2/` also where anonymous pulls are allowed: that is where clients learn how to log in. */
export function createTokenAuth(options: TokenAuthOptions): Authorize {
  return async (request) => {
    const caller = await identify(options, request.authorization);
    if (caller === "unknown") return challenge(options, request, "invalid_token");
    if (caller === undefined) return admitAnonymous(options, request);
    const { account, access } = caller;
    if (!account.may(request.action, request.repository)) {
      // Without a name there is still the way to get one.
      return account === options.accounts.anonymous()
        ? challenge(options, request, "insufficient_scope")
        : { kind: "denied" };
    }
    return access === undefined || coversRequest(access, request)
      ? { kind: "allowed", subject: account.subject }
      : challenge(options, request, "insufficient_scope");
  };
}

async function identify(
  { accounts, tokens }: TokenAuthOptions,
  header: string | undefined,
): Promise<Caller | "unknown" | undefined> {
  const authorization = readAuthorization(header);
  if (authorization === undefined) return undefined;
  if (authorization === "invalid") return "unknown";
  if (authorization.scheme === "basic") {
    const account = await accounts.findByPassword(authorization);
    return account === undefined ? "unknown" : { account, access: undefined };
  }
  const owner = await accounts.findByToken(authorization.token);
  if (owner !== undefined) return { account: owner, access: undefined };
  const claims = await tokens.verify(authorization.token);
  if (claims === undefined) return "unknown";
  const account =
    claims.subject === undefined ? accounts.anonymous() : accounts.find(claims.subject);
  return account === undefined ? "unknown" : { account, access: claims.access };
}

function admitAnonymous(options: TokenAuthOptions, request: AuthorizeRequest): AuthorizeResult {
  const account = options.accounts.anonymous();
  return account !== undefined &&
    request.repository !== undefined &&
    account.may(request.action, request.repository)
    ? { kind: "allowed", subject: account.subject }
    : challenge(options, request);
}

/** RFC 6750, section 3, with the parameters of the token specification. */
function challenge(
  { service, findRealm }: TokenAuthOptions,
  request: AuthorizeRequest,
  error?: "invalid_token" | "insufficient_scope",
): AuthorizeResult {
  const realm = findRealm(request.origin);
  if (realm === undefined)
    return { kind: "challenge", wwwAuthenticate: `Basic realm="${service}"` };
  const scope = scopeFor(request);
  const parameters = { realm, service, scope, error };
  const text = Object.entries(parameters)
    .flatMap(([name, value]) => (value === undefined ? [] : [`${name}="${value}"`]))
    .join(",");
  return { kind: "challenge", wwwAuthenticate: `Bearer ${text}` };
}
