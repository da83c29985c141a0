/** `user set|token|remove|list`: writes the file of users, which a running store takes up by itself. */
import { text } from "node:stream/consumers";

import { parseDurationMs } from "@strata/protocol/units";

import { hashPassword } from "../auth/password.ts";
import { hashToken, parseUsers, type User, type Users } from "../auth/users.ts";
import type { World } from "../world.ts";
import type { Arguments } from "./arguments.ts";
import { readFileIfThere, writeFileDurably } from "./durable-file.ts";
import { ServeError } from "./errors.ts";
import { readDataFolder, usersFileIn } from "./settings.ts";

type Change = { readonly users: Users; readonly said: string };

/** @throws ServeError USAGE, CONFIG_INVALID */
export async function runUser(world: World, args: Arguments): Promise<number> {
  const [, verb = "", name = ""] = args.words;
  const path = args.text("users") ?? usersFileIn(readDataFolder(args, world.env));
  const users = parseUsers(readFileIfThere(path) ?? `{"users":{}}`);
  if (verb === "list") {
    world.stdout.write(describeUsers(users));
    return 0;
  }
  const changed = await change({ world, args, users, name }, verb);
  // What was just made must be readable again, or the next start would fail on it.
  const file = `${JSON.stringify(changed.users, null, 2)}\n`;
  parseUsers(file);
  writeFileDurably(path, file);
  world.stdout.write(changed.said);
  return 0;
}

type Call = {
  readonly world: World;
  readonly args: Arguments;
  readonly users: Users;
  readonly name: string;
};

function change(call: Call, verb: string): Promise<Change> {
  if (call.name === "") throw usage("user needs a verb and a name");
  switch (verb) {
    case "set":
      return setUser(call);
    case "token":
      return Promise.resolve(addToken(call));
    case "remove":
      return Promise.resolve(removeUser(call));
    default:
      throw usage(`user ${JSON.stringify(verb)} is not known`);
  }
}

/** Rights that are named replace those that were there; the password stays unless another is given. */
async function setUser({ world, args, users, name }: Call): Promise<Change> {
  const before = users.users[name];
  const rights = readRights(args);
  const password = await readPassword(world, args, before);
  const hash =
    password === undefined
      ? before?.password
      : await hashPassword(password.text, world.randomBytes(SALT_BYTES));
  const user: User = {
    ...(hash === undefined || args.flag("no-password") ? {} : { password: hash }),
    rights: rights.length === 0 ? (before?.rights ?? []) : rights,
    tokens: before?.tokens ?? [],
  };
  const said = password?.isMade === true ? `password: ${password.text}\n` : "";
  return { users: { ...users, users: { ...users.users, [name]: user } }, said };
}

const SALT_BYTES = 16;
const SECRET_BYTES = 32;
const MADE_PASSWORD_BYTES = 15;

/** Who may push or delete may pull as well: no client can do the one without the other. */
function readRights(args: Arguments): User["rights"] {
  const grants = [
    { repositories: args.list("pull"), actions: ["pull"] },
    { repositories: args.list("push"), actions: ["pull", "push"] },
    { repositories: args.list("delete"), actions: ["pull", "delete"] },
  ] as const;
  return grants.flatMap(({ repositories, actions }) =>
    repositories.length === 0 ? [] : [{ repositories: [...repositories], actions: [...actions] }],
  );
}

type Password = { readonly text: string; readonly isMade: boolean };

async function readPassword(
  { stdin, randomBytes }: World,
  args: Arguments,
  before: User | undefined,
): Promise<Password | undefined> {
  const file = args.text("password-file");
  if (file !== undefined) {
    const content = file === "-" ? await text(stdin) : readFileIfThere(file);
    if (content === undefined) throw usage(`there is no file ${file}`);
    return { text: content.replace(/\r?\n$/, ""), isMade: false };
  }
  if (before !== undefined || args.flag("no-password")) return undefined;
  const made = Buffer.from(randomBytes(MADE_PASSWORD_BYTES)).toString("base64url");
  return { text: made, isMade: true };
}

/** Prints the token once; only its hash is kept. */
function addToken({ world, args, users, name }: Call): Change {
  const user = requireUser(users, name);
  const token = `strata_${Buffer.from(world.randomBytes(SECRET_BYTES)).toString("base64url")}`;
  const life = args.text("expires-in");
  const entry: User["tokens"][number] = {
    id: Buffer.from(world.randomBytes(4)).toString("hex"),
    sha256: hashToken(token),
    ...(args.flag("read-only") ? { actions: ["pull"] } : {}),
    ...(life === undefined
      ? {}
      : { expires: new Date(world.clock() + parseDurationMs(life)).toISOString() }),
  };
  const isValid = ({ expires }: User["tokens"][number]): boolean =>
    expires === undefined || Date.parse(expires) > world.clock();
  const changed = { ...user, tokens: [...user.tokens.filter(isValid), entry] };
  return { users: { ...users, users: { ...users.users, [name]: changed } }, said: `${token}\n` };
}

function removeUser({ users, name }: Call): Change {
  requireUser(users, name);
  const { [name]: _removed, ...others } = users.users;
  return { users: { ...users, users: others }, said: "" };
}

function requireUser(users: Users, name: string): User {
  const user = users.users[name];
  if (user !== undefined) return user;
  throw usage(`there is no user ${JSON.stringify(name)}`);
}

function describeUsers({ users, anonymous }: Users): string {
  const lines = Object.entries(users).map(([name, { rights, tokens }]) => {
    const what = rights.map(
      ({ repositories, actions }) => `${actions.join(",")} ${repositories.join(" ")}`,
    );
    return `${name}: ${what.join("; ") || "no rights"} (${tokens.length} tokens)\n`;
  });
  const open = anonymous.length === 0 ? "" : `anybody: pull ${anonymous.join(" ")}\n`;
  return [...lines, open].join("");
}

function usage(message: string): ServeError {
  return new ServeError("USAGE", message, {
    hint: "user set NAME, user token NAME, user remove NAME or user list; see --help",
  });
}
