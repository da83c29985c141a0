/** wrk at a steady rate: each of its connections waits a while before it asks again. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { z } from "zod";

import { aTemporaryDirectory } from "./temporary.ts";

const CONNECTIONS = 8;
const PAUSE_MS = 50;
/** It is ended before. */
const SECONDS_MAX = 800;
/** A request that waits for a process to wake, on a machine that does much else, has not failed yet. */
const ANSWER_SECONDS_MAX = 60;

const SCRIPT = `
function delay() return ${PAUSE_MS} end
function done(summary)
  local errors = summary.errors
  io.write(string.format('\\n{"requests":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\\n',
    summary.requests, errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
`;

const count = z.int().nonnegative();
const Summary = z.object({
  requests: count,
  connect: count,
  read: count,
  write: count,
  status: count,
  timeout: count,
});

export type Wrk = AsyncDisposable & {
  /** How many requests may be under way. */
  readonly connections: number;
  /** Ends it. Answers that are not 2xx or 3xx have failed, too. */
  readonly finish: () => Promise<{ readonly answered: number; readonly failed: number }>;
};

export function aWrk(url: string, host: string): Wrk {
  const folder = aTemporaryDirectory();
  const script = join(folder.path, "steady.lua");
  writeFileSync(script, SCRIPT);
  const program = spawn(
    "wrk",
    `--threads 1 --connections ${CONNECTIONS} --duration ${SECONDS_MAX}s`
      .split(" ")
      .concat("--timeout", `${ANSWER_SECONDS_MAX}s`, "--script", script)
      .concat("--header", `Host: ${host}`, url),
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const parts: Buffer[] = [];
  program.stdout.on("data", (part: Buffer) => parts.push(part));
  const ended = once(program, "close");
  return {
    connections: CONNECTIONS,
    finish: async () => {
      program.kill("SIGINT");
      await ended;
      const output = Buffer.concat(parts).toString();
      const line = output.split("\n").findLast((one) => one.startsWith("{")) ?? "";
      if (line === "") throw new Error(`wrk said nothing of what it did: ${output}`);
      const { requests, status, ...broken } = Summary.parse(JSON.parse(line));
      const failed = Object.values(broken).reduce((sum, one) => sum + one, status);
      return { answered: requests - status, failed };
    },
    [Symbol.asyncDispose]: async () => {
      program.kill("SIGKILL");
      await ended;
      await folder[Symbol.asyncDispose]();
    },
  };
}
