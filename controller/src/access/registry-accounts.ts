import { scopeIncludes } from "@strata/protocol/access";
import type { Account, Accounts } from "@strata/registry/auth/accounts";
import type { RegistryAction } from "@strata/registry/authorize";
import { RegistryError } from "@strata/registry/errors";

import { ControllerError, RateLimitedError } from "../errors.ts";
import type { Sql } from "../store/database.ts";
import type { Auditor } from "./audit.ts";
import type { Authenticate, FindPrincipal, Principal } from "./authenticate.ts";
import type { Gate } from "./gate.ts";
import { reachesRepository } from "./repository-owner.ts";

export type RegistryAccountsOptions = {
  readonly sql: Sql;
  readonly authenticate: Authenticate;
  readonly findPrincipal: FindPrincipal;
  readonly gate: Pick<Gate, "admitToStore">;
  readonly auditor: Pick<Auditor, "current">;
};

/** Our tokens as the accounts of the store: as Bearer, or as the password of Basic, which is what skopeo and podman
 * log in with. The user name is of no interest then. */
export function createRegistryAccounts(options: RegistryAccountsOptions): Accounts {
  const known = async (credential: string): Promise<Account | undefined> =>
    toAccount(options, await identify(options, credential));
  return {
    findByPassword: ({ password }) => known(password),
    findByToken: known,
    find: (subject) => toAccount(options, options.findPrincipal(subject)),
    anonymous: () => undefined,
  };
}

const needed = { pull: "pull", list: "pull", push: "push", delete: "deployer" } as const;

/** The store has one answer for everybody whom it does not know. */
async function identify(
  { authenticate }: RegistryAccountsOptions,
  credential: string,
): Promise<Principal | undefined> {
  try {
    return await authenticate(credential);
  } catch (error) {
    if (error instanceof ControllerError) return undefined;
    throw error;
  }
}

/** @throws RegistryError TOOMANYREQUESTS */
function toAccount(
  { sql, gate, auditor }: RegistryAccountsOptions,
  principal: Principal | undefined,
): Account | undefined {
  const attempt = auditor.current();
  if (attempt !== undefined) attempt.caller = principal;
  if (principal === undefined) return undefined;
  try {
    gate.admitToStore(principal);
  } catch (error) {
    throw error instanceof RateLimitedError ? tooManyRequests(error) : error;
  }
  return {
    subject: principal.id,
    may: (action: RegistryAction, repository) =>
      scopeIncludes(principal.scope, needed[action]) &&
      (repository === undefined || reachesRepository(sql, principal, { repository, action })),
  };
}

function tooManyRequests({ message, hint, rate }: RateLimitedError): RegistryError {
  return new RegistryError("TOOMANYREQUESTS", message, {
    ...(hint === undefined ? {} : { hint }),
    headers: { "retry-after": String(rate.resetSeconds) },
  });
}
