/** Passwords as scrypt (RFC 7914) keeps them: `scrypt$<N>$<r>$<p>$<salt>$<hash>`, the last two in base64url. */
import { createHmac, scrypt, type ScryptOptions, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";

import { CodedError } from "@strata/protocol/errors";

import { RegistryError } from "../errors.ts";

const derive = promisify<string, Uint8Array, number, ScryptOptions, Buffer>(scrypt);

/** 32 MiB and some 80 ms for each guess. */
const COST = { N: 2 ** 15, r: 8, p: 1 } as const;
const MEMORY_BYTES_MAX = 192 * 1024 * 1024;
const HASH_BYTES = 32;
/** Longer ones are no passwords, and would only cost us time. */
const PASSWORD_LENGTH_MAX = 1_024;

const grammar =
  /^scrypt\$(\d{1,7})\$(\d{1,2})\$(\d{1,2})\$([A-Za-z0-9_-]{16,128})\$([A-Za-z0-9_-]{43})$/;

export function isPasswordHash(text: string): boolean {
  return grammar.test(text);
}

/** `salt` is 16 random bytes or more. @throws CodedError INVALID for a password that is empty or too long */
export async function hashPassword(password: string, salt: Uint8Array): Promise<string> {
  if (password === "" || password.length > PASSWORD_LENGTH_MAX) {
    throw new CodedError("INVALID", `a password has 1 to ${PASSWORD_LENGTH_MAX} characters`);
  }
  const hash = await derive(password, salt, HASH_BYTES, { ...COST, maxmem: MEMORY_BYTES_MAX });
  const encode = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64url");
  return `scrypt$${COST.N}$${COST.r}$${COST.p}$${encode(salt)}$${encode(hash)}`;
}

async function passwordMatches(password: string, stored: string): Promise<boolean> {
  const [, n, r, p, salt = "", hash = ""] = grammar.exec(stored) ?? [];
  if (hash === "" || password.length > PASSWORD_LENGTH_MAX) return false;
  const wanted = Buffer.from(hash, "base64url");
  const cost = { N: Number(n), r: Number(r), p: Number(p), maxmem: MEMORY_BYTES_MAX };
  const actual = await derive(password, Buffer.from(salt, "base64url"), wanted.length, cost);
  return timingSafeEqual(actual, wanted);
}

export type PasswordChecker = {
  /** `stored` is undefined for a user that does not exist: it takes as long, so that time tells nothing.
   * @throws RegistryError TOOMANYREQUESTS */
  readonly matches: (password: string, stored: string | undefined) => Promise<boolean>;
};

export type PasswordCheckerOptions = {
  readonly clock: () => number;
  /** Random bytes of this process, under which passwords that were right are remembered. */
  readonly key: Uint8Array;
};

/** Checked at the same time; each takes 32 MiB and a thread. */
const AT_ONCE_MAX = 2;
const WAITING_MAX = 32;
const REMEMBERED_MAX = 1_000;
const REMEMBERED_MS = 10 * 60_000;
/** Stands for the hash of a user that does not exist. No password has it. */
const NOBODY = `scrypt$${COST.N}$${COST.r}$${COST.p}$${"A".repeat(22)}$${"A".repeat(43)}`;

/** A client with Basic sends its password with every request, so right ones are remembered for a while, and checks of
 * the same one are made once. */
export function createPasswordChecker({ clock, key }: PasswordCheckerOptions): PasswordChecker {
  const rightUntil = new Map<string, number>();
  const checking = new Map<string, Promise<boolean>>();
  const limit = createLimit();
  const check = async (password: string, stored: string): Promise<boolean> =>
    limit(() => passwordMatches(password, stored));
  return {
    matches: async (password, stored = NOBODY) => {
      const id = createHmac("sha256", key).update(`${stored}\0${password}`).digest("base64");
      if ((rightUntil.get(id) ?? -Infinity) > clock()) return true;
      const running =
        checking.get(id) ?? check(password, stored).finally(() => checking.delete(id));
      checking.set(id, running);
      const right = await running;
      if (right) {
        const oldest = rightUntil.keys().next();
        if (rightUntil.size >= REMEMBERED_MAX && oldest.done !== true)
          rightUntil.delete(oldest.value);
        rightUntil.set(id, clock() + REMEMBERED_MS);
      }
      return right;
    },
  };
}

function createLimit(): <Result>(body: () => Promise<Result>) => Promise<Result> {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (body) => {
    if (running < AT_ONCE_MAX) running += 1;
    else {
      if (waiting.length >= WAITING_MAX) throw tooMany();
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
    try {
      return await body();
    } finally {
      // The next one takes over the place, so that nobody slips in between.
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}

function tooMany(): RegistryError {
  return new RegistryError("TOOMANYREQUESTS", "too many passwords are being checked", {
    hint: "try again later, or log in with a token",
    headers: { "retry-after": "5" },
  });
}
