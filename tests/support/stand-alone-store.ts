import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import process from "node:process";
import { createInterface } from "node:readline";

const main = createRequire(import.meta.url).resolve("@strata/registry/main");

/** The store on its own, as a real process. Disposing kills it. */
export type StandAloneStore = AsyncDisposable & {
  readonly url: string;
  /** `127.0.0.1:port` */
  readonly host: string;
  /** Tells it to stop, as an init does, and gives its exit status. */
  readonly stop: () => Promise<number | null>;
};

/** Serves the folder on a free port of loopback. */
export async function aStandAloneStore(
  folder: string,
  options: readonly string[] = [],
): Promise<StandAloneStore> {
  const child = spawn(
    process.execPath,
    [main, "serve", "--data", folder, "--port", "0", ...options],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /^listening on (\S+)$/.exec(line)?.[1];
    if (url === undefined) continue;
    return {
      url,
      host: new URL(url).host,
      stop: async () => {
        child.kill("SIGTERM");
        await ended(child);
        return child.exitCode;
      },
      [Symbol.asyncDispose]: async () => {
        child.kill("SIGKILL");
        await ended(child);
      },
    };
  }
  throw new Error("the store ended before it listened");
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

export type Ended = { readonly status: number; readonly stdout: string; readonly stderr: string };

/** Runs a command of the store to its end; `input` is its standard input. */
export function runStore(args: readonly string[], input = ""): Promise<Ended> {
  const { promise, resolve } = Promise.withResolvers<Ended>();
  const child = execFile(process.execPath, [main, ...args], (_error, stdout, stderr) =>
    resolve({ status: child.exitCode ?? -1, stdout, stderr }),
  );
  child.stdin?.end(input);
  return promise;
}
