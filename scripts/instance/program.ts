import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";

import { SetupError } from "./instance.ts";

export type ProgramOptions = {
  readonly what: string;
  readonly remedy: string;
  readonly environment: Readonly<Record<string, string>>;
  /** For its standard input: a secret never stands in its arguments. */
  readonly input?: string;
  readonly timeoutMs: number;
};

/** Runs a program of ours to its end; gives what it printed.
 * @throws SetupError with all that it said when it fails. */
export async function runProgram(
  [program = "", ...args]: readonly string[],
  { what, remedy, environment, input, timeoutMs }: ProgramOptions,
): Promise<string> {
  const child = spawn(program, args, {
    env: { ...process.env, ...environment },
    stdio: ["pipe", "pipe", "pipe"],
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  child.stdin.on("error", () => undefined); // It may end without reading; its exit status tells.
  child.stdin.end(input ?? "");
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  if (code === 0) return stdout;
  throw new SetupError(`${what} failed:\n${indent(`${stdout}${stderr}`)}`, remedy);
}

export function indent(said: string): string {
  return said.trim().replaceAll(/^/gm, "    | ");
}
