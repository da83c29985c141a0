/** The one place that starts programs of the distribution. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Readable } from "node:stream";

import { getErrorCode } from "@strata/protocol/coded-error";

import { chunksOf } from "../chunks.ts";
import { CliError } from "../errors.ts";

const STDERR_KEPT_BYTES = 16 * 1024;
const STDERR_SHOWN_LINES = 12;

export type Tool = {
  readonly command: string;
  readonly args: readonly string[];
  /** Debian package that has the command: named when it is missing. */
  readonly package: string;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Told every line that the tool writes to standard error. */
  readonly onLine?: (line: string) => void;
};

export type RunningTool = AsyncDisposable & {
  readonly stdout: Readable;
  /** Settles when the tool has ended.
   * @throws CliError TOOL_MISSING, or TOOL_FAILED with the last lines of its standard error. */
  readonly done: Promise<void>;
};

/** Starts a tool, optionally fed with `input`. Left before its end, it is terminated. */
export function startTool(tool: Tool, input?: Readable): RunningTool {
  const child = spawn(tool.command, tool.args, {
    stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    env: { ...process.env, LC_ALL: "C.UTF-8", ...tool.env },
  });
  const { stdout, stderr, stdin } = child;
  if (stdout === null || stderr === null) throw new TypeError("spawn was asked for pipes");
  if (input !== undefined && stdin !== null) {
    // A tool that ends early closes its input; how it ended says more than this error.
    stdin.on("error", () => input.destroy());
    input.on("error", () => child.kill());
    input.pipe(stdin);
  }
  const done = whenEnded(child, tool, keepLines(stderr, tool.onLine));
  done.catch(() => undefined);
  return {
    stdout,
    done,
    [Symbol.asyncDispose]: async () => {
      child.kill();
      stdout.resume();
      await done.catch(() => undefined);
    },
  };
}

/** Runs a tool to its end and gives back what it printed, at most 16 MiB. */
export async function runTool(tool: Tool, input?: Readable): Promise<string> {
  await using running = startTool(tool, input);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunksOf(running.stdout)) {
    bytes += chunk.length;
    if (bytes > 16 * 1024 * 1024)
      throw new CliError("TOOL_FAILED", `${tool.command} printed over 16 MiB`);
    chunks.push(chunk);
  }
  await running.done;
  return Buffer.concat(chunks).toString();
}

function whenEnded(child: ChildProcess, tool: Tool, stderrTail: () => string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  child.on("error", (cause) => {
    reject(
      getErrorCode(cause) === "ENOENT"
        ? new CliError("TOOL_MISSING", `${tool.command} is not installed`, {
            cause,
            hint: `install it: apt-get install ${tool.package}`,
          })
        : new CliError("TOOL_FAILED", `${tool.command} could not be started`, { cause }),
    );
  });
  child.on("close", (code, signal) => {
    if (code === 0) return resolve();
    const how = code === null ? `was ended by ${signal}` : `ended with code ${code}`;
    reject(new CliError("TOOL_FAILED", `${tool.command} ${how}\n${stderrTail()}`.trimEnd()));
  });
  return promise;
}

function keepLines(
  stderr: Readable,
  onLine: (line: string) => void = () => undefined,
): () => string {
  let kept = "";
  let line = "";
  stderr.setEncoding("utf8");
  stderr.on("data", (text: string) => {
    kept = (kept + text).slice(-STDERR_KEPT_BYTES);
    const lines = (line + text).split("\n");
    line = (lines.pop() ?? "").slice(-STDERR_KEPT_BYTES);
    for (const whole of lines) onLine(whole);
  });
  return () => kept.trimEnd().split("\n").slice(-STDERR_SHOWN_LINES).join("\n");
}
