import type { Hono } from "hono";

import type { Authorize } from "../authorize.ts";
import type { RegistryLogger } from "../logger.ts";
import { createAccessTokens } from "./access-token.ts";
import type { Accounts } from "./accounts.ts";
import { createTokenAuth, type TokenAuthOptions } from "./token-auth.ts";
import { createTokenEndpoint } from "./token-endpoint.ts";

export type LoginOptions = Pick<TokenAuthOptions, "accounts" | "service" | "findRealm"> & {
  readonly accounts: Accounts;
  /** Signs access tokens: at least 32 random bytes, kept over restarts so that pushes under way go on. */
  readonly key: Uint8Array;
  readonly clock: () => number;
  readonly logger: RegistryLogger;
};

/** What `createRegistry` takes as `authorize` and `tokenEndpoint`, made to fit each other. */
export function createLogin(options: LoginOptions): {
  readonly authorize: Authorize;
  readonly tokenEndpoint: Hono;
} {
  const tokens = createAccessTokens(options);
  return {
    authorize: createTokenAuth({ ...options, tokens }),
    tokenEndpoint: createTokenEndpoint({ ...options, tokens }),
  };
}
