import { basename } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** Program and first arguments that run this very agent; a subcommand follows. */
export type SelfCommand = { readonly file: string; readonly args: readonly string[] };

/** How to run this program again: under node and deno from its source, or as the single binary that it is. */
export function selfCommand(): SelfCommand {
  const here = fileURLToPath(import.meta.url);
  // In a bundle all modules are one file of another name, inside the binary or behind `node`.
  if (basename(here) !== "self-exec.ts") return bundledCommand();
  const main = fileURLToPath(new URL("main.ts", import.meta.url));
  if ("Deno" in globalThis) return { file: process.execPath, args: ["run", "-A", main] };
  return { file: process.execPath, args: [...process.execArgv, main] };
}

function bundledCommand(): SelfCommand {
  const isRuntime = /^(?:node|bun|deno)(?:\.exe)?$/.test(basename(process.execPath));
  const script = process.argv[1];
  if (!isRuntime || script === undefined) return { file: process.execPath, args: [] };
  const run = "Deno" in globalThis ? ["run", "-A"] : process.execArgv;
  return { file: process.execPath, args: [...run, script] };
}
