/** The only place where the agent starts programs of the host. */
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from "node:child_process";

import { AgentError } from "../errors.ts";
import { getSignalNumber } from "./signals.ts";

export type ToolResult = {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
};

export type ToolOptions = {
  /** Given to the program's standard input. */
  readonly input?: string;
  /** The program is killed after this time [30 s]. */
  readonly timeoutMs?: number;
  /** Exit codes that are no error [0]. */
  readonly okCodes?: readonly number[];
};

const TIMEOUT_MS = 30_000;
const OUTPUT_BYTES_MAX = 8 * 1024 * 1024;

/** A fixed environment: what the agent was started with is nobody else's business. */
const environment = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };

/** Runs a program to its end and gives its output, at most OUTPUT_BYTES_MAX of it.
 * @throws AgentError TOOL_FAILED for an exit code that is not expected, a signal, or a program that is not there. */
export async function runTool(
  command: string,
  args: readonly string[],
  { input = "", timeoutMs = TIMEOUT_MS, okCodes = [0] }: ToolOptions = {},
): Promise<ToolResult> {
  const child = spawn(command, [...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: environment,
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  // A program that ends without reading its input is judged by its exit code.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const [stdout, stderr, code] = await Promise.all([
    collect(child.stdout),
    collect(child.stderr),
    waitForEnd(child, command),
  ]);
  if (okCodes.includes(code)) return { code, stdout, stderr };
  throw new AgentError(
    "TOOL_FAILED",
    `${command} ${args[0] ?? ""} ended with ${code}: ${stderr.trim().slice(0, 1000)}`,
  );
}

export type DetachedOptions = {
  /** Takes its standard output. */
  readonly logFd: number;
  /** And its standard error [as `logFd`]. */
  readonly errorFd?: number;
  /** Whether its standard input is a pipe to the caller, who ends it; it ends with the agent as well [no]. */
  readonly hasInput?: boolean;
};

/** Starts a program in a session of its own that outlives the agent. */
export function startDetached(
  command: string,
  args: readonly string[],
  { logFd, errorFd = logFd, hasInput = false }: DetachedOptions,
): ChildProcess {
  const child = spawn(command, [...args], {
    detached: true,
    stdio: [hasInput ? "pipe" : "ignore", logFd, errorFd],
    env: environment,
  });
  // A program that ends without reading its input is judged by its exit code.
  child.stdin?.on("error", () => undefined);
  child.unref();
  return child;
}

/** Starts a program whose standard input, output and error are pipes to the caller. */
export function startPiped(
  command: string,
  args: readonly string[],
): ChildProcessWithoutNullStreams {
  return spawn(command, [...args], { stdio: ["pipe", "pipe", "pipe"], env: environment });
}

/** The exit code, 128 + N for signal N as a shell has it.
 * @throws AgentError TOOL_FAILED when the program could not be started. */
export function waitForEnd(child: ChildProcess, command: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.once("error", (cause) => {
    reject(new AgentError("TOOL_FAILED", `${command} could not be started`, { cause }));
  });
  child.once("close", (code, signal) => {
    resolve(code ?? 128 + (signal === null ? 0 : (getSignalNumber(signal) ?? 0)));
  });
  return promise;
}

async function collect(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    if (size < OUTPUT_BYTES_MAX) chunks.push(chunk);
    size += chunk.length;
  }
  return Buffer.concat(chunks).toString("utf8");
}
