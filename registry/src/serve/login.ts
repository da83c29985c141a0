/** Who may use the store on its own: everybody, or the users of a file. */
import { join } from "node:path";

import { type LoginOptions, createLogin } from "../auth/login.ts";
import { createPasswordChecker } from "../auth/password.ts";
import { TOKEN_PATH } from "../auth/token-endpoint.ts";
import { createUserAccounts, parseUsers } from "../auth/users.ts";
import type { Authorize } from "../authorize.ts";
import type { World } from "../world.ts";
import { readFileIfThere, writeFileDurably } from "./durable-file.ts";
import { ServeError } from "./errors.ts";
import { watchFiles } from "./watched-file.ts";

export type LoginSettings = {
  readonly data: string;
  /** The file of users; undefined lets everybody do everything. */
  readonly users: string | undefined;
  /** How clients reach us, when it is not by the address that they connect to. */
  readonly publicUrl: string | undefined;
};

export type StandAloneLogin = {
  /** For `createRegistry`. */
  readonly access: {
    readonly authorize: Authorize;
    readonly tokenEndpoint?: ReturnType<typeof createLogin>["tokenEndpoint"];
  };
  /** Takes up a file of users that was replaced. @throws CodedError USERS_INVALID; the old users stay then */
  readonly refresh: () => void;
};

type Parts = Pick<World, "clock" | "randomBytes"> & Pick<LoginOptions, "logger">;

const SERVICE = "strata-store";
const KEY_BYTES = 32;

/** @throws ServeError CONFIG_INVALID, CodedError USERS_INVALID */
export function openLogin(settings: LoginSettings, parts: Parts): StandAloneLogin {
  const { data, users: path, publicUrl } = settings;
  if (path === undefined) {
    return {
      access: { authorize: () => ({ kind: "allowed", subject: "anyone" }) },
      refresh: () => undefined,
    };
  }
  const watched = watchFiles([path], () => parseUsers(requireFile(path)));
  const { clock, randomBytes, logger } = parts;
  const passwords = createPasswordChecker({ clock, key: randomBytes(KEY_BYTES) });
  const access = createLogin({
    accounts: createUserAccounts({ users: watched.value, passwords, clock }),
    key: ensureKey(join(data, "token-key"), randomBytes),
    service: SERVICE,
    findRealm: (origin) => {
      const base = publicUrl ?? origin;
      return base === undefined ? undefined : `${base.replace(/\/$/, "")}${TOKEN_PATH}`;
    },
    clock,
    logger,
  });
  return { access, refresh: () => void watched.refresh() };
}

function requireFile(path: string): string {
  const text = readFileIfThere(path);
  if (text !== undefined) return text;
  throw new ServeError("CONFIG_INVALID", `there is no file of users ${path}`, {
    hint: "make it with: strata store user set NAME",
  });
}

/** Kept over restarts, so that clients go on with the tokens that they have. */
function ensureKey(path: string, randomBytes: World["randomBytes"]): Uint8Array {
  const kept = Buffer.from(readFileIfThere(path)?.trim() ?? "", "base64url");
  if (kept.length >= KEY_BYTES) return kept;
  const made = Buffer.from(randomBytes(KEY_BYTES));
  writeFileDurably(path, `${made.toString("base64url")}\n`);
  return made;
}
