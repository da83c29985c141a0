/** The store on its own: the only file that reads the environment, the clock and randomness. */
import { randomBytes, randomUUID } from "node:crypto";
import process from "node:process";

import { runCommandLine } from "./command-line.ts";

const stopping = new AbortController();
process.once("SIGTERM", () => stopping.abort());
process.once("SIGINT", () => stopping.abort());

process.exitCode = await runCommandLine(
  {
    env: process.env,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    clock: Date.now,
    newId: randomUUID,
    randomBytes,
    signal: stopping.signal,
  },
  process.argv.slice(2),
);
