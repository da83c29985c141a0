import { existsSync } from "node:fs";
import { join } from "node:path";

import { parseS3Location, type S3Location } from "../drivers/s3/location.ts";
import type { World } from "../world.ts";
import type { Arguments } from "./arguments.ts";
import { readConfig, type StoreConfig } from "./config.ts";
import { ServeError } from "./errors.ts";
import type { TlsFiles } from "./listen.ts";
import type { LoginSettings } from "./login.ts";

export type ServeSettings = LoginSettings & {
  /** Where the blobs are; undefined for the data folder. */
  readonly bucket: S3Location | undefined;
  readonly host: string;
  readonly port: number;
  readonly tls: TlsFiles | undefined;
  readonly config: StoreConfig;
};

/** @throws ServeError USAGE, CONFIG_INVALID */
export function readServeSettings(args: Arguments, env: World["env"]): ServeSettings {
  const data = readDataFolder(args, env);
  return {
    data,
    bucket: readBucket(args, env),
    host: args.text("host") ?? env["STRATA_STORE_HOST"] ?? "127.0.0.1",
    port: parsePort(args.text("port") ?? env["STRATA_STORE_PORT"] ?? "5000"),
    users: readUsersFile(args, data),
    publicUrl: parsePublicUrl(args.text("public-url")),
    tls: readTlsFiles(args),
    config: readConfig(args.text("config")),
  };
}

/** The folder of a store. */
export function readDataFolder(args: Arguments, env: World["env"]): string {
  return args.text("data") ?? env["STRATA_STORE_DATA"] ?? "/var/lib/strata/store";
}

/** The bucket that has a store's blobs. @throws ParseError */
export function readBucket(args: Arguments, env: World["env"]): S3Location | undefined {
  const text = args.text("blobs") ?? env["STRATA_STORE_BLOBS"];
  return text === undefined || text === "" ? undefined : parseS3Location(text);
}

export function usersFileIn(data: string): string {
  return join(data, "users.json");
}

/** The one in the data folder counts as soon as it is there. */
function readUsersFile(args: Arguments, data: string): string | undefined {
  const own = usersFileIn(data);
  return args.text("users") ?? (existsSync(own) ? own : undefined);
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65_535) return port;
  throw new ServeError("USAGE", `port ${JSON.stringify(text)} is not a number`, {
    hint: "give one from 0 to 65535",
  });
}

function parsePublicUrl(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const url = URL.parse(text);
  if (url !== null && /^https?:$/.test(url.protocol) && url.pathname === "/") return url.origin;
  throw new ServeError("USAGE", `--public-url ${JSON.stringify(text)} is no http or https origin`, {
    hint: "write it like https://registry.example.org",
  });
}

function readTlsFiles(args: Arguments): TlsFiles | undefined {
  const [certificate, key] = [args.text("tls-cert"), args.text("tls-key")];
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate !== undefined && key !== undefined) return { certificate, key };
  throw new ServeError("USAGE", "--tls-cert and --tls-key belong together", {
    hint: "give both, or none of them for plain HTTP",
  });
}
