/** Where clients trade a log-in for an access token: distribution token specification, "Requesting a Token". */
import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { z } from "zod";

import { RegistryError } from "../errors.ts";
import { answerJson } from "../http/answer.ts";
import { answerError, toRegistryError } from "../http/errors.ts";
import type { RegistryLogger } from "../logger.ts";
import type { AccessTokens, IssuedToken } from "./access-token.ts";
import type { Account, Accounts, Credentials } from "./accounts.ts";
import { readAuthorization } from "./authorization-header.ts";
import { type Access, readScope, SCOPES_MAX } from "./scope.ts";

export const TOKEN_PATH = "/v2/token";

export type TokenEndpointOptions = {
  readonly accounts: Accounts;
  readonly tokens: AccessTokens;
  readonly service: string;
  readonly logger: RegistryLogger;
};

const FORM_BYTES_MAX = 32 * 1024;

/** Serves `/v2/token`; to be mounted before the registry, which knows no such path. GET takes Basic, or nothing for
 * an anonymous token; POST takes the form of OAuth 2 (RFC 6749, section 4.3), which containerd sends first. */
export function createTokenEndpoint(options: TokenEndpointOptions): Hono {
  const app = new Hono();
  app.get(TOKEN_PATH, async (context) => {
    const scopes = context.req.queries("scope") ?? [];
    const account = await identify(options, context.req.header("authorization"));
    if (account === undefined) throw wrongLogin(options);
    return answerToken(await issue(options, account, scopes));
  });
  const limit = bodyLimit({
    maxSize: FORM_BYTES_MAX,
    onError: () => answerError(new RegistryError("SIZE_INVALID", "the form is too long")),
  });
  app.post(TOKEN_PATH, limit, async (context) => {
    const form = PasswordForm.safeParse(await context.req.parseBody());
    // RFC 6749, section 5.2. Clients that know no other grant fall back to GET.
    if (!form.success)
      return answerJson({ value: { error: "unsupported_grant_type" }, status: 400 });
    const { username: name, password, scope } = form.data;
    const account = await options.accounts.findByPassword({ name, password });
    if (account === undefined) throw wrongLogin(options);
    return answerToken(await issue(options, account, [scope]));
  });
  app.onError((error) => answerError(toRegistryError(error, options.logger)));
  return app;
}

const PasswordForm = z.object({
  grant_type: z.literal("password"),
  username: z.string(),
  password: z.string(),
  scope: z.string().default(""),
});

async function identify(
  { accounts }: TokenEndpointOptions,
  header: string | undefined,
): Promise<Account | undefined> {
  const authorization = readAuthorization(header);
  if (authorization === undefined) return accounts.anonymous();
  if (authorization === "invalid") return undefined;
  if (authorization.scheme === "bearer") return accounts.findByToken(authorization.token);
  const credentials: Credentials = authorization;
  return accounts.findByPassword(credentials);
}

/** What was asked for and may be; a client learns at the registry that the rest is missing. */
async function issue(
  { accounts, tokens }: TokenEndpointOptions,
  account: Account,
  texts: readonly string[],
): Promise<IssuedToken> {
  const scopes = texts.flatMap((text) => text.split(" ")).filter((text) => text !== "");
  if (scopes.length > SCOPES_MAX) {
    throw new RegistryError("DENIED", `${scopes.length} scopes, at most ${SCOPES_MAX} at once`);
  }
  const access = scopes.flatMap((text) => narrow(readScope(text), account));
  const subject = account === accounts.anonymous() ? undefined : account.subject;
  return tokens.issue({ subject, access });
}

function narrow(access: Access | undefined, account: Account): readonly Access[] {
  if (access === undefined) return [];
  const repository = access.type === "repository" ? access.name : undefined;
  const actions = access.actions.filter((action) => account.may(action, repository));
  return actions.length === 0 ? [] : [{ ...access, actions }];
}

/** `token` is the specification's word, `access_token` that of OAuth 2; clients read either. */
function answerToken({ token, expiresInSeconds, issuedAt }: IssuedToken): Response {
  const value = {
    token,
    access_token: token,
    expires_in: expiresInSeconds,
    issued_at: new Date(issuedAt).toISOString(),
  };
  return answerJson({ value, headers: { "cache-control": "no-store" } });
}

function wrongLogin({ service }: TokenEndpointOptions): RegistryError {
  return new RegistryError("UNAUTHORIZED", "this user and password, or this token, is not known", {
    hint: "log in again, with the name and the password, or with a token as the password",
    headers: { "www-authenticate": `Basic realm="${service}"` },
  });
}
