/** Users of the store on its own, from a file. */
import { createHash } from "node:crypto";

import { CodedError } from "@strata/protocol/errors";
import { z } from "zod";

import type { RegistryAction } from "../authorize.ts";
import { compileGlob, GLOB_LENGTH_MAX } from "../glob.ts";
import type { Account, Accounts } from "./accounts.ts";
import { isPasswordHash, type PasswordChecker } from "./password.ts";

const USERS_MAX = 10_000;
const Pattern = z.string().min(1).max(GLOB_LENGTH_MAX);
const Actions = z.array(z.enum(["pull", "push", "delete"])).min(1);
/** Of one user: letters, digits and `. _ - @`. */
const UserName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/)
  .refine((name) => name !== ANONYMOUS, "this name is taken");
const ANONYMOUS = "anonymous";

const Token = z.strictObject({
  /** To tell tokens apart; no secret. */
  id: z.string().regex(/^[a-z0-9-]{1,40}$/),
  /** SHA-256 of the token, in hexadecimal. It has 256 random bits, so a slow hash would protect nothing. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** What of the user's rights it carries [all]. */
  actions: Actions.optional(),
  expires: z.iso.datetime().optional(),
});

const User = z.strictObject({
  /** As `hashPassword` makes it; without one the user has tokens alone. */
  password: z.string().refine(isPasswordHash, "is no scrypt hash").optional(),
  rights: z.array(z.strictObject({ repositories: z.array(Pattern).min(1), actions: Actions })),
  tokens: z.array(Token).max(1_000).default([]),
});

/** The file of users, as JSON. */
export const Users = z.strictObject({
  users: z.record(UserName, User).refine((users) => Object.keys(users).length <= USERS_MAX),
  /** Repositories that anybody may pull, as patterns. */
  anonymous: z.array(Pattern).default([]),
});
export type Users = z.infer<typeof Users>;
export type User = z.infer<typeof User>;

/** @throws CodedError USERS_INVALID, naming what is wrong where */
export function parseUsers(text: string): Users {
  try {
    return Users.parse(JSON.parse(text));
  } catch (cause) {
    const what = cause instanceof z.ZodError ? z.prettifyError(cause) : "it is no JSON";
    throw new CodedError("USERS_INVALID", `the file of users cannot be used: ${what}`, {
      cause,
      hint: "make it with: strata store user set NAME",
    });
  }
}

export function hashToken(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

export type UserAccountOptions = {
  /** As it is now; asked again and again. */
  readonly users: () => Users;
  readonly passwords: PasswordChecker;
  readonly clock: () => number;
};

/** An index is made anew only when `users` gives another object. */
export function createUserAccounts({ users, passwords, clock }: UserAccountOptions): Accounts {
  let known: { readonly from: Users; readonly index: Index } | undefined;
  const index = (): Index => {
    const from = users();
    if (known?.from !== from) known = { from, index: indexUsers(from) };
    return known.index;
  };
  const findByToken = (token: string): Account | undefined => {
    const found = index().tokens.get(hashToken(token));
    return found === undefined || found.expiresAt <= clock() ? undefined : found.account;
  };
  return {
    findByToken,
    findByPassword: async ({ name, password }) => {
      const owner = findByToken(password);
      if (owner !== undefined) return owner;
      const found = index().users.get(name);
      const matches = await passwords.matches(password, found?.passwordHash);
      return matches ? found?.account : undefined;
    },
    find: (subject) => index().users.get(subject)?.account,
    anonymous: () => index().anonymous,
  };
}

type Index = {
  readonly users: ReadonlyMap<
    string,
    { readonly account: Account; readonly passwordHash: string | undefined }
  >;
  readonly tokens: ReadonlyMap<string, { readonly account: Account; readonly expiresAt: number }>;
  readonly anonymous: Account | undefined;
};

function indexUsers({ users, anonymous }: Users): Index {
  const accounts = Object.entries(users).map(([subject, user]) => ({
    user,
    account: { subject, may: compileRights(user.rights) },
  }));
  return {
    users: new Map(
      accounts.map(({ user, account }) => [
        account.subject,
        { account, passwordHash: user.password },
      ]),
    ),
    tokens: new Map(
      accounts.flatMap(({ user, account }) =>
        user.tokens.map(({ sha256, actions, expires }) => [
          sha256,
          {
            account: actions === undefined ? account : limitTo(account, actions),
            expiresAt: expires === undefined ? Infinity : Date.parse(expires),
          },
        ]),
      ),
    ),
    anonymous:
      anonymous.length === 0
        ? undefined
        : {
            subject: ANONYMOUS,
            may: compileRights([{ repositories: anonymous, actions: ["pull"] }]),
          },
  };
}

/** Everybody with an account may ask `/v2/` and the catalog, which shows what he may pull. */
function compileRights(rights: User["rights"]): Account["may"] {
  const compiled = rights.map(({ repositories, actions }) => ({
    patterns: repositories.map(compileGlob),
    actions: new Set<RegistryAction>(actions.includes("pull") ? [...actions, "list"] : actions),
  }));
  return (action, repository) =>
    repository === undefined ||
    compiled.some(
      ({ patterns, actions }) =>
        actions.has(action) && patterns.some((matches) => matches(repository)),
    );
}

function limitTo(account: Account, actions: readonly RegistryAction[]): Account {
  const allowed = new Set<RegistryAction>([...actions, "list"]);
  return {
    subject: account.subject,
    may: (action, repository) =>
      (repository === undefined || allowed.has(action)) && account.may(action, repository),
  };
}
