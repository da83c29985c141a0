/** Runs one command line inside this process: the whole program but for `main.ts`. */
import { PassThrough, type Readable } from "node:stream";
import { buffer } from "node:stream/consumers";

import type { Context } from "@strata/cli/context";
import { runProgram } from "@strata/cli/program";

export type CliResult = {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
};

export type CliOptions = {
  /** The whole environment: nothing of the test's own is seen. */
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: Readable;
  readonly isRoot?: boolean;
  readonly now?: number;
  readonly signal?: AbortSignal;
  /** Told of standard output as it comes. */
  readonly onOutput?: (text: string) => void;
};

export async function runCli(
  args: readonly string[],
  options: CliOptions = {},
): Promise<CliResult> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const stdin = options.stdin ?? new PassThrough().end();
  const collected = Promise.all([buffer(stdout), buffer(stderr)]);
  const { onOutput } = options;
  if (onOutput !== undefined) stdout.on("data", (chunk: Buffer) => onOutput(chunk.toString()));
  const context: Context = {
    env: { HOME: "/nowhere", ...options.env },
    stdin,
    stdout,
    stderr,
    isRoot: options.isRoot ?? false,
    now: () => options.now ?? Date.now(),
    signal: options.signal ?? new AbortController().signal,
  };
  const status = await runProgram(args, context);
  stdout.end();
  stderr.end();
  const [out, err] = await collected;
  return { status, stdout: out.toString(), stderr: err.toString() };
}
