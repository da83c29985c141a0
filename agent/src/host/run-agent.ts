/** Runs another version of this program, with the settings that this one has. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

import { waitForEnd } from "./run-tool.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export type RunResult = { readonly code: number; readonly output: string };

const RUN_MS_MAX = 60_000;
const OUTPUT_CHARACTERS_MAX = 64 * 1024;

/** Runs one of its subcommands to its end; gives what it wrote.
 * @throws AgentError TOOL_FAILED when it cannot be started */
export async function runAgentCommand(
  file: string,
  args: readonly string[],
  environment: Environment,
): Promise<RunResult> {
  const child = spawn(file, [...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...environment },
    timeout: RUN_MS_MAX,
    killSignal: "SIGKILL",
  });
  let output = "";
  const keep = (chunk: Buffer): void => {
    if (output.length < OUTPUT_CHARACTERS_MAX) output += chunk.toString("utf8");
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  return { code: await waitForEnd(child, file), output };
}

export type Daemon = {
  /** How it ended. */
  readonly ended: Promise<string>;
  /** Resolves when it is gone: by SIGTERM, or by SIGKILL when that takes longer than `graceMs`. */
  readonly end: (graceMs: number) => Promise<void>;
};

/** Starts it as a daemon that writes to this one's log. Its standard input ends when this program ends, however that
 * comes. */
export function startAgentDaemon(
  file: string,
  args: readonly string[],
  environment: Environment,
): Daemon {
  const child = spawn(file, [...args], {
    stdio: ["pipe", "inherit", "inherit"],
    env: { ...environment },
  });
  child.stdin.on("error", () => undefined);
  return { ended: describeEnd(child), end: (graceMs) => endDaemon(child, graceMs) };
}

function describeEnd(child: ChildProcess): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  child.once("error", (error) => resolve(`could not be started: ${error.message}`));
  child.once("exit", (code, signal) =>
    resolve(signal === null ? `ended with ${code ?? "?"}` : `was ended by ${signal}`),
  );
  return promise;
}

async function endDaemon(child: ChildProcess, graceMs: number): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
  await gone;
  clearTimeout(timer);
}
