import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";

/** A store in a process of its own. */
export type StoreProcess = {
  readonly url: string;
  /** From the start of the process until it listened. */
  readonly startMs: number;
  /** What it wrote to its standard error so far. */
  readonly said: () => string;
  /** Memory that it held at most so far. */
  readonly peakMiB: () => number;
  /** SIGKILL; resolves when the process is gone. */
  readonly kill: () => Promise<void>;
};

/** @throws when it ends before it listens, with what it said */
export async function startStore(args: readonly string[]): Promise<StoreProcess> {
  const startedAt = performance.now();
  const child = spawnStore(args);
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (said += text));
  const { stdout } = child;
  if (stdout === null) throw new Error("no output to read");
  for await (const line of createInterface(stdout)) {
    const url = /^listening on (\S+)$/.exec(line)?.[1];
    if (url === undefined) continue;
    return {
      url,
      startMs: performance.now() - startedAt,
      said: () => said,
      peakMiB: () => readPeak(child.pid ?? 0),
      kill: () => killProcess(child),
    };
  }
  throw new Error(`the store ended before it listened: ${said}`);
}

/** Kills a store while it starts, after so long. */
export async function killInStart(args: readonly string[], afterMs: number): Promise<void> {
  const child = spawnStore(args);
  const ended = once(child, "exit");
  const timer = setTimeout(() => child.kill("SIGKILL"), afterMs);
  await ended;
  clearTimeout(timer);
}

function spawnStore(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
}

function readPeak(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

async function killProcess(child: ChildProcess): Promise<void> {
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  if (child.exitCode === null && child.signalCode === null) await ended;
}
