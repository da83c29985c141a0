import type { RegistryAction } from "../authorize.ts";

/** Somebody whom the registry knows, with what he may do now. */
export type Account = {
  /** Names him for good: uploads belong to it, and access tokens carry it. */
  readonly subject: string;
  /** Undefined stands for what belongs to no repository: `/v2/` and the catalog. */
  readonly may: (action: RegistryAction, repository: string | undefined) => boolean;
};

export type Credentials = { readonly name: string; readonly password: string };

/** Where accounts come from: a file of users, or the tokens of the controller. */
export type Accounts = {
  /** By name and password, or by a token in place of the password, whatever the name.
   * @throws RegistryError TOOMANYREQUESTS when too many passwords are being checked */
  readonly findByPassword: (credentials: Credentials) => Promise<Account | undefined>;
  /** By a token of long life, sent as it is. */
  readonly findByToken: (token: string) => Account | undefined | Promise<Account | undefined>;
  /** As he is now; undefined once he is removed. */
  readonly find: (subject: string) => Account | undefined;
  /** Those who do not say who they are; undefined when nobody may do anything unnamed. */
  readonly anonymous: () => Account | undefined;
};
