#!/usr/bin/env node
/** The composition root: the only file that reads the environment, the clock and the process's own streams. */
import { enableCompileCache } from "node:module";
import { join } from "node:path";

import type { Context } from "./context.ts";
import { cacheFolder } from "./settings/paths.ts";

const { env } = process;
// Halves the time of every start. In the user's own folder: code from a shared one could be anybody's.
enableCompileCache(join(cacheFolder(env), "compiled"));
const { runProgram } = await import("./program.ts");
const { exitCodes } = await import("./errors.ts");

const interrupted = new AbortController();
process.once("SIGINT", () => {
  interrupted.abort("SIGINT");
  // A second interrupt does not wait for anything to be tidied up.
  process.once("SIGINT", () => process.exit(exitCodes.interrupted));
});
process.once("SIGTERM", () => interrupted.abort("SIGTERM"));

// `strata get … | head` closes the pipe early: nobody is left to tell.
for (const output of [process.stdout, process.stderr]) {
  output.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(exitCodes.ok);
  });
}

const context: Context = {
  env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  isRoot: process.getuid?.() === 0,
  now: Date.now,
  signal: interrupted.signal,
};

process.exitCode = await runProgram(process.argv.slice(2), context);
