import { join } from "node:path";

import { CliError } from "../errors.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** XDG Base Directory Specification: where settings are kept [`~/.config/strata`]. */
export function configFolder(env: Environment): string {
  return join(env["XDG_CONFIG_HOME"] ?? join(home(env), ".config"), "strata");
}

/** XDG Base Directory Specification: where what can be made again is kept [`~/.cache/strata`]. */
export function cacheFolder(env: Environment): string {
  return join(env["XDG_CACHE_HOME"] ?? join(home(env), ".cache"), "strata");
}

function home(env: Environment): string {
  const folder = env["HOME"];
  if (folder !== undefined && folder !== "") return folder;
  throw new CliError("USAGE", "HOME is not set", {
    hint: "set HOME, or XDG_CONFIG_HOME and XDG_CACHE_HOME",
  });
}
