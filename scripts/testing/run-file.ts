import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";

import { root } from "../root.ts";
import { toolPath } from "../tool-path.ts";
import type { FileEnd } from "./summary.ts";

const OUTPUT_BYTES_MAX = 8 * 1024 * 1024;
const DRAIN_MS = 1000;

export type RunFileOptions = {
  readonly deadlineMs: number;
  readonly env: Readonly<Record<string, string>>;
};

/** Runs one program of the project in a process group of its own, which is killed whole at the deadline. Output past
 * 8 MiB is dropped. */
export async function runFile(
  command: readonly string[],
  { deadlineMs, env }: RunFileOptions,
): Promise<FileEnd> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, {
    cwd: root,
    detached: true,
    env: { ...process.env, PATH: toolPath(), NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const collect = (chunk: Buffer): void => {
    if (output.length < OUTPUT_BYTES_MAX) output += chunk.toString("utf8");
  };
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  const killGroup = (): void => {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  };
  const timer = setTimeout(() => {
    output += `\nnot done in ${deadlineMs / 1000} s: killed\n`;
    killGroup();
  }, deadlineMs);
  // A group of its own does not get the terminal's interrupt.
  process.once("exit", killGroup);
  const closed = once(child, "close");
  try {
    const [exitCode]: unknown[] = await once(child, "exit");
    // A daemon that a test left behind holds the pipes open for ever; it is found as a leftover afterwards.
    await Promise.race([closed, delay(DRAIN_MS, undefined, { ref: false })]);
    return { output, exitCode: typeof exitCode === "number" ? exitCode : null };
  } finally {
    clearTimeout(timer);
    process.off("exit", killGroup);
    child.stdout.destroy();
    child.stderr.destroy();
  }
}
