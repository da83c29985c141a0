import { CliError } from "../errors.ts";

/** One end of a copy: in a process, on this machine, or standard input or output. */
export type Place =
  | { readonly kind: "process"; readonly name: string; readonly path: string }
  | { readonly kind: "local"; readonly path: string }
  | { readonly kind: "pipe" };

/** `PROCESS:PATH`, `-` or a path of this machine; one with a colon is written `./a:b`.
 * @throws CliError USAGE */
export function parsePlace(text: string): Place {
  if (text === "-") return { kind: "pipe" };
  const [, name, path] = /^([^/:.][^/:]*):(.*)$/s.exec(text) ?? [];
  if (name === undefined || path === undefined) {
    if (text === "") throw new CliError("USAGE", "a path is empty");
    return { kind: "local", path: text };
  }
  return { kind: "process", name, path: path.startsWith("/") ? path : `/${path}` };
}

/** What an archive of this path begins with: its last part; `.` where its contents alone are meant. */
export function topOf(path: string): string {
  if (path === "." || path.endsWith("/.")) return ".";
  return path.split("/").findLast((part) => part !== "") ?? ".";
}
