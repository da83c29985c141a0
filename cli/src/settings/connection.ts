/** Which controller a command talks to: environment first, then the login, then the controller of this machine. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { CONTROLLER_SERVER_NAME } from "@strata/protocol/agent/join-token";
import { getErrorCode } from "@strata/protocol/coded-error";

import type { Context } from "../context.ts";
import { CliError } from "../errors.ts";
import { type Login, readConfigFile } from "./config-file.ts";
import { configFolder } from "./paths.ts";

export type Connection = {
  /** Origin alone: `https://host:7070`. */
  readonly url: URL;
  readonly token: string | undefined;
  readonly tls: TlsTrust | undefined;
};

/** The one CA to trust, and the name to find in the certificate whatever address is dialled. */
export type TlsTrust = { readonly ca: string; readonly servername: string };

const DEFAULT_PORT = 7070;

export function configPath(context: Context): string {
  return join(configFolder(context.env), "config.json");
}

/** @param name A context of the config file; undefined takes the current one.
 * @throws CliError NOT_LOGGED_IN */
export async function findConnection(
  context: Context,
  name: string | undefined,
): Promise<Connection> {
  const { STRATA_URL: url, STRATA_TOKEN: token, STRATA_CA: caFile } = context.env;
  const config = await readConfigFile(configPath(context));
  const login = config.contexts[name ?? config.current];
  if (name !== undefined && login === undefined) {
    throw new CliError("NOT_LOGGED_IN", `there is no context ${JSON.stringify(name)}`, {
      hint: `known are: ${Object.keys(config.contexts).join(", ") || "none; log in with strata login URL"}`,
    });
  }
  const ca = caFile === undefined ? login?.ca : await readCa(caFile);
  if (url !== undefined) return connect(url, token ?? matchingToken(login, url), ca);
  if (login !== undefined) return connect(login.url, token ?? login.token, ca);
  const local = await findLocal(context);
  if (local !== undefined) return connect(local.url, token ?? local.token, undefined);
  throw new CliError("NOT_LOGGED_IN", "no controller is known", {
    hint: "log in with: strata login URL; or set STRATA_URL and STRATA_TOKEN; or, for a moved installation here, STRATA_DATA",
  });
}

export function connectionOf({ url, token, ca }: Login): Connection {
  return connect(url, token, ca);
}

/** A token of one controller is never sent to another. */
function matchingToken(login: Login | undefined, url: string): string | undefined {
  return login !== undefined && parseOrigin(login.url).origin === parseOrigin(url).origin
    ? login.token
    : undefined;
}

function connect(url: string, token: string | undefined, ca: string | undefined): Connection {
  const origin = parseOrigin(url);
  const isTls = origin.protocol === "https:" && ca !== undefined;
  return {
    url: origin,
    token,
    tls: isTls ? { ca, servername: CONTROLLER_SERVER_NAME } : undefined,
  };
}

/** @throws CliError USAGE */
export function parseOrigin(text: string): URL {
  const url = URL.parse(/^https?:\/\//.test(text) ? text : `https://${text}`);
  if (url === null || url.pathname !== "/" || url.search !== "" || url.username !== "") {
    throw new CliError("USAGE", `${JSON.stringify(text)} is not the address of a controller`, {
      hint: "write it like https://host:7070",
    });
  }
  return url;
}

async function readCa(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new CliError("USAGE", `STRATA_CA names ${file}, which cannot be read`, {
      cause,
      hint: "name a PEM file that you may read, or unset STRATA_CA",
    });
  }
}

/** On the controller's own machine root needs no login: its token is a file, and it listens on loopback. */
async function findLocal(
  context: Context,
): Promise<{ readonly url: string; readonly token: string } | undefined> {
  if (!context.isRoot) return undefined;
  const { STRATA_DATA: data = "/var/lib/strata" } = context.env;
  const token = await readIfThere(join(data, "admin-token"));
  if (token === undefined) return undefined;
  const decided = parseSettings((await readIfThere(join(data, "instance.env"))) ?? "");
  const { STRATA_TLS: tls, STRATA_PORT: port } = { ...decided, ...context.env };
  const plainPort = Number(port ?? DEFAULT_PORT) + (tls === "off" ? 0 : 1);
  return { url: `http://127.0.0.1:${plainPort}`, token: token.trim() };
}

/** What scripts/up decided for an installation: lines of NAME=VALUE. */
function parseSettings(text: string): Readonly<Record<string, string | undefined>> {
  const lines = text.split("\n").map((line) => line.split("="));
  return Object.fromEntries(lines.map(([name = "", ...value]) => [name, value.join("=")]));
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (getErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
