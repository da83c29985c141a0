/** `~/.config/strata/config.json`, mode 0600: the controllers that somebody logged in to. */
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import { getErrorCode } from "@strata/protocol/coded-error";

import { CliError } from "../errors.ts";

/** One controller and who we are there. `ca` is the PEM text that its certificate must chain to. */
export type Login = { readonly url: string; readonly token: string; readonly ca?: string };

export type ConfigFile = {
  /** Name of the login that counts unless `--context` names another. */
  readonly current: string;
  readonly contexts: Readonly<Record<string, Login>>;
};

const empty: ConfigFile = { current: "default", contexts: {} };

/** @throws CliError USAGE when the file is broken. */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (getErrorCode(error) === "ENOENT") return empty;
    throw error;
  }
  const config = parseConfigFile(text);
  if (config !== undefined) return config;
  throw new CliError("USAGE", `${path} is damaged`, {
    hint: "delete it and log in again: strata login URL",
  });
}

/** Written to a new file first, so that nobody ever reads half of it. */
export async function writeConfigFile(path: string, config: ConfigFile): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const partial = `${path}.new`;
  await writeFile(partial, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
  await rename(partial, path);
}

function parseConfigFile(text: string): ConfigFile | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (!isRecord(value) || typeof value["current"] !== "string") return undefined;
    const contexts = value["contexts"];
    if (!isRecord(contexts) || !Object.values(contexts).every(isLogin)) return undefined;
    return { current: value["current"], contexts: contexts as Record<string, Login> };
  } catch {
    return undefined;
  }
}

function isLogin(value: unknown): value is Login {
  if (!isRecord(value)) return false;
  const { url, token, ca } = value;
  return (
    typeof url === "string" &&
    typeof token === "string" &&
    ["string", "undefined"].includes(typeof ca)
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
