import { execFileSync } from "node:child_process";
import { join } from "node:path";

export type KeptFolder = {
  /** Where folders are kept. */
  readonly cache: string;
  /** Says what the content is made of: another content has another name. */
  readonly name: string;
  /** Fills the folder that it gets as its last argument. */
  readonly command: readonly [string, ...string[]];
};

/** The folder's path; made now, unless somebody has made it before.
 * @throws Error when the command fails; then nothing is kept */
export function requireKeptFolder({ cache, name, command }: KeptFolder): string {
  const script = join(import.meta.dirname, "kept-folder.sh");
  execFileSync(script, [cache, name, ...command], { stdio: ["ignore", "inherit", "inherit"] });
  return join(cache, name);
}
