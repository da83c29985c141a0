/** XDG Base Directory Specification: where a user's files are. */
import { homedir } from "node:os";
import { join } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

/** Where settings are kept [`~/.config/strata`]. */
export function configFolder(env: Environment): string {
  return join(env["XDG_CONFIG_HOME"] ?? join(homedir(), ".config"), "strata");
}

/** Where what can be made again is kept [`~/.cache/strata`]. */
export function cacheFolder(env: Environment): string {
  return join(env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "strata");
}
