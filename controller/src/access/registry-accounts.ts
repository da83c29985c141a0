import { scopeIncludes } from "@strata/protocol/access";
import type { Account, Accounts } from "@strata/registry/auth/accounts";
import type { RegistryAction } from "@strata/registry/authorize";

import type { Authenticate, FindPrincipal, Principal } from "./authenticate.ts";

export type RegistryAccountsOptions = {
  readonly authenticate: Authenticate;
  readonly findPrincipal: FindPrincipal;
};

/** Our tokens as the accounts of the store: as Bearer, or as the password of Basic, which is what skopeo and podman
 * log in with. The user name is of no interest then. */
export function createRegistryAccounts(options: RegistryAccountsOptions): Accounts {
  const { authenticate, findPrincipal } = options;
  return {
    findByPassword: ({ password }) => Promise.resolve(toAccount(authenticate(password))),
    findByToken: (token) => toAccount(authenticate(token)),
    find: (subject) => toAccount(findPrincipal(subject)),
    anonymous: () => undefined,
  };
}

const needed = { pull: "pull", list: "pull", push: "push", delete: "deployer" } as const;

function toAccount(principal: Principal | undefined): Account | undefined {
  if (principal === undefined) return undefined;
  return {
    subject: principal.id,
    may: (action: RegistryAction) => scopeIncludes(principal.scope, needed[action]),
  };
}
