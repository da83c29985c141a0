/** The only place in the controller that starts other programs. Each runs in a process group of its own, with
 * bounded output and no environment but the one given, and nothing of its group outlives the call. */
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import type { Readable } from "node:stream";

import { getErrorCode } from "@strata/protocol/errors";

import { ProviderError } from "./errors.ts";

export type ProgramRun = {
  /** An absolute path, or a name for the `PATH` in `env`, and the arguments. */
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  /** All of its standard input [empty]. */
  readonly stdin?: string;
  /** Of standard output [4 MiB]. */
  readonly outputBytesMax?: number;
  /** From SIGTERM to SIGKILL, when it is to end before it is done [2 s]. */
  readonly killGraceMs?: number;
};

export type ProgramResult = {
  readonly exitCode: number;
  readonly stdout: string;
  /** Its last `STDERR_BYTES_MAX` bytes. */
  readonly stderr: string;
};

const OUTPUT_BYTES_MAX = 4 * 1024 * 1024;
const STDERR_BYTES_MAX = 8 * 1024;
/** How long a program that ended may leave its output open in a process that left its group. */
const LINGER_MS = 1000;

/** Runs the program to its end, and resolves whatever its exit code is; 128 + N when signal N ended it. The signal is
 * its only time limit.
 * @throws ProviderError PROVIDER_INVALID when it cannot be started, PROVIDER_FAILED when it says too much; the signal's
 * reason when aborted. The group is dead by then. */
export async function runProgram(run: ProgramRun, signal: AbortSignal): Promise<ProgramResult> {
  signal.throwIfAborted();
  const { command, env, killGraceMs = 2000, outputBytesMax = OUTPUT_BYTES_MAX } = run;
  const [file, ...args] = command;
  const child = spawn(file, args, { detached: true, env, cwd: "/", stdio: "pipe" });
  const ending = createEnding(child, killGraceMs);
  const onAbort = (): void => ending.stop(signal.reason);
  signal.addEventListener("abort", onAbort);
  try {
    const stdout = collect(child.stdout, outputBytesMax, () =>
      ending.stop(
        new ProviderError("PROVIDER_FAILED", `${file} said more than ${outputBytesMax} bytes`),
      ),
    );
    const stderr = collectTail(child.stderr, STDERR_BYTES_MAX);
    // A program that does not read its input closes the pipe early; that is its right.
    child.stdin.on("error", () => undefined);
    child.stdin.end(run.stdin ?? "");
    const exitCode = await ending.done;
    return { exitCode, stdout: stdout(), stderr: stderr() };
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** What to throw for a program whose exit code says that it failed: with its last words. */
export function failedRun(file: string, { exitCode, stderr }: ProgramResult): ProviderError {
  const lastLine = stderr.trim().split("\n").at(-1) ?? "";
  // One line that cannot play tricks on a terminal.
  const said = lastLine.replaceAll(/\p{Cc}/gu, " ").slice(0, 500);
  const code = /no space left|cannot allocate memory/i.test(said)
    ? "PROVIDER_CAPACITY"
    : "PROVIDER_FAILED";
  return new ProviderError(code, `${file} ended with ${exitCode}${said === "" ? "" : `: ${said}`}`);
}

type Ending = {
  readonly done: Promise<number>;
  /** Ends the group; `done` then rejects with this error. Only the first one counts. */
  readonly stop: (error: unknown) => void;
};

function createEnding(child: ChildProcess, killGraceMs: number): Ending {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const timers: NodeJS.Timeout[] = [];
  let stopped: { readonly error: unknown } | undefined;
  child.on("error", (cause) => reject(startError(child.spawnfile, cause)));
  child.on("exit", () => {
    // What is left of the group dies with its leader.
    killGroup(child, "SIGKILL");
    timers.push(setTimeout(() => destroyPipes(child), LINGER_MS));
  });
  child.on("close", (code, signalName) => {
    for (const timer of timers) clearTimeout(timer);
    if (stopped !== undefined) reject(stopped.error);
    else resolve(code ?? 128 + (signalName === null ? 0 : constants.signals[signalName]));
  });
  const stop = (error: unknown): void => {
    if (stopped !== undefined) return;
    stopped = { error };
    killGroup(child, "SIGTERM");
    timers.push(setTimeout(() => killGroup(child, "SIGKILL"), killGraceMs));
  };
  return { done: promise, stop };
}

function killGroup(child: ChildProcess, signalName: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signalName);
  } catch (error) {
    if (getErrorCode(error) !== "ESRCH") throw error;
  }
}

function destroyPipes(child: ChildProcess): void {
  child.stdout?.destroy();
  child.stderr?.destroy();
}

function collect(stream: Readable, bytesMax: number, onOverflow: () => void): () => string {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= bytesMax) chunks.push(chunk);
    else onOverflow();
  });
  return () => Buffer.concat(chunks).toString("utf8");
}

function collectTail(stream: Readable, bytesMax: number): () => string {
  let tail = Buffer.alloc(0);
  stream.on("data", (chunk: Buffer) => {
    tail = Buffer.concat([tail, chunk]).subarray(-bytesMax);
  });
  return () => tail.toString("utf8");
}

function startError(file: string, cause: unknown): ProviderError {
  return new ProviderError("PROVIDER_INVALID", `${file} cannot be started`, {
    cause,
    hint: `see that ${file} exists on the controller's machine and is executable`,
  });
}
