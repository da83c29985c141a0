import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";

import { createApiClient } from "../api/client.ts";
import { RefusedError } from "../api/refusal.ts";
import type { Invocation } from "../command.ts";
import { type Context, print } from "../context.ts";
import { CliError } from "../errors.ts";
import { getText, type Options } from "../options.ts";
import { type Login, readConfigFile, writeConfigFile } from "../settings/config-file.ts";
import { configPath, connectionOf, parseOrigin } from "../settings/connection.ts";
import { fetchCa } from "../settings/fetch-ca.ts";
import { ask } from "../stream/ask.ts";

export async function run({ context, args, options }: Invocation): Promise<void> {
  const url = parseOrigin(args[0] ?? "").origin;
  const ca = await findCa(context, url, options);
  const token = await findToken(context, options);
  const login: Login = { url, token, ...(ca === undefined ? {} : { ca }) };
  await check(context, login);
  const name = getText(options, "name") ?? "default";
  const path = configPath(context);
  const config = await readConfigFile(path);
  await writeConfigFile(path, {
    current: name,
    contexts: { ...config.contexts, [name]: login },
  });
  print(context, `logged in to ${url} as context ${name}`);
}

/** A CA given as a file, or fetched and held against its fingerprint, or shown to the person at the terminal. */
async function findCa(
  context: Context,
  url: string,
  options: Options,
): Promise<string | undefined> {
  const file = getText(options, "ca") ?? context.env["STRATA_CA"];
  if (file !== undefined) return readFile(file, "utf8");
  if (url.startsWith("http://")) return undefined;
  const wanted = getText(options, "caFingerprint")?.toLowerCase().replaceAll(":", "");
  const { pem, fingerprint } = await fetchCa(new URL(url), context.signal);
  if (wanted === fingerprint) return pem;
  if (wanted !== undefined) {
    throw new CliError(
      "USAGE",
      `the CA of ${url} has the fingerprint ${fingerprint}, not ${wanted}`,
      {
        hint: "somebody may be in between: compare with what follows the last dot of a join token",
      },
    );
  }
  const answer = await ask(
    context,
    `The CA of ${url} has the SHA-256 fingerprint\n  ${fingerprint}\nTrust it? [y/N] `,
  );
  if (/^y(es)?$/i.test(answer ?? "")) return pem;
  throw new CliError("USAGE", "the controller's CA is not trusted", {
    hint: `compare the fingerprint, then add --ca-fingerprint ${fingerprint}`,
  });
}

async function findToken(context: Context, options: Options): Promise<string> {
  const file = getText(options, "tokenFile");
  if (file === "-") return (await text(context.stdin)).trim();
  if (file !== undefined) return (await readFile(file, "utf8")).trim();
  const token = context.env["STRATA_TOKEN"] ?? (await ask(context, "Token: ", { isSecret: true }));
  if (token !== undefined && token.trim() !== "") return token.trim();
  throw new CliError("USAGE", "no token was given", {
    hint: "add --token-file FILE (- for standard input), or set STRATA_TOKEN",
  });
}

/** A token of any scope will do; one that is unknown will not. */
async function check(context: Context, login: Login): Promise<void> {
  const client = createApiClient(connectionOf(login), context.signal);
  try {
    await client.send({ method: "GET", path: "/v1/partitions?limit=1" });
  } catch (error) {
    if (error instanceof RefusedError && error.status === 403) return;
    throw error;
  }
}
