import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";

import { bundleController } from "../../bundle.ts";
import { controllerCommand, controllerEnvironment } from "../../instance/services.ts";
import { readCpu, readMemory } from "../process-figures.ts";

/** The controller as it is run in production, but for TLS: database on disk, each commit synced. */
export type ControllerProgram = AsyncDisposable & {
  readonly url: string;
  readonly token: string;
  readonly rssMib: () => number;
  /** Processor time used so far. */
  readonly cpuMs: () => number;
};

/** @throws Error when it ends before it listens. */
export async function aControllerProgram(data: string): Promise<ControllerProgram> {
  await bundleController();
  const [node = "", ...args] = controllerCommand;
  const child = spawn(node, args, {
    stdio: ["ignore", "pipe", "inherit"],
    env: {
      ...process.env,
      ...controllerEnvironment,
      STRATA_DATA: data,
      STRATA_PORT: "0",
      STRATA_TLS: "off",
      STRATA_LISTEN: "127.0.0.1",
    },
  });
  const port = await listeningPort(child);
  child.stdout.resume();
  const ended = once(child, "exit");
  return {
    url: `http://127.0.0.1:${port}`,
    token: readFileSync(join(data, "admin-token"), "utf8").trim(),
    rssMib: () => readMemory(child.pid ?? 0).nowMib,
    cpuMs: () => readCpu(child.pid ?? 0).ownMs,
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await ended;
    },
  };
}

async function listeningPort(
  child: ChildProcess & { stdout: NodeJS.ReadableStream },
): Promise<number> {
  const lines = createInterface(child.stdout);
  for await (const line of lines) {
    const port = /"port":(\d+)/.exec(line)?.[1];
    if (port !== undefined) return Number(port);
  }
  throw new Error("the controller ended before it listened");
}
