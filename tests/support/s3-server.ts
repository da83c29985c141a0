import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import type { Socket } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";

import { aTemporaryDirectory } from "./temporary.ts";

/** A server of S3 on loopback: OpenStack Swift as Debian ships it, all in one process. */
export type S3Server = AsyncDisposable & {
  /** `http://127.0.0.1:port` */
  readonly endpoint: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly pid: number;
  /** A place of the one bucket that nobody else has, as `s3:` address. */
  readonly newAddress: () => string;
};

/** Why there can be no such server here; undefined when there can. */
export const s3ServerMissing: string | undefined = existsSync(
  "/usr/lib/python3/dist-packages/swift/proxy/server.py",
)
  ? undefined
  : "python3-swift is not installed; scripts/setup --dev does it";

const START_MS_MAX = 60_000;
const STDERR_CHARACTERS_MAX = 8_000;

/** Starts a server, whose bucket holds at most `quotaBytes` [no limit]. It is gone with its scope, and its data too. */
export async function anS3Server({ quotaBytes = 0 } = {}): Promise<S3Server> {
  const { server, endpoint, dispose } = await startSwift(quotaBytes);
  return serverAt(endpoint, { pid: server.pid, dispose });
}

let shared: Promise<S3Server> | undefined;

/** One server for all tests of a file, as each start takes seconds. It ends with the last test. */
export function theS3Server(): Promise<S3Server> {
  shared ??= startShared();
  return shared;
}

async function startShared(): Promise<S3Server> {
  const { server, endpoint, dispose } = await startSwift(0);
  // Nothing of it keeps the tests from their end, and the end waits for it.
  server.unref();
  for (const stream of server.stdio) (stream as Socket | null)?.unref();
  process.once("beforeExit", () => {
    server.ref();
    void dispose();
  });
  return serverAt(endpoint, { pid: server.pid, dispose: () => Promise.resolve() });
}

type Swift = {
  readonly server: ChildProcess;
  readonly endpoint: string;
  readonly dispose: () => Promise<void>;
};

async function startSwift(quotaBytes: number): Promise<Swift> {
  await using cleanUp = new AsyncDisposableStack();
  const folder = cleanUp.use(aTemporaryDirectory());
  const script = new URL("swift-s3.py", import.meta.url).pathname;
  // Debian's own interpreter: another one in the path does not know Debian's modules.
  const server = spawn("/usr/bin/python3", [script, folder.path, String(quotaBytes)]);
  const ended = once(server, "close");
  cleanUp.defer(async () => {
    server.stdin.destroy();
    await ended;
  });
  let said = "";
  server.stderr.on("data", (chunk: Buffer) => {
    said = `${said}${chunk.toString()}`.slice(-STDERR_CHARACTERS_MAX);
  });
  const slow = setTimeout(() => server.kill("SIGKILL"), START_MS_MAX);
  const lines = createInterface(server.stdout);
  const [line]: unknown[] = await Promise.race([once(lines, "line"), ended]);
  clearTimeout(slow);
  const endpoint = /^listening on (http:\S+)$/.exec(String(line))?.[1];
  if (endpoint === undefined) throw new Error(`the S3 server did not start: ${said}`);
  const started = cleanUp.move();
  return { server, endpoint, dispose: () => started.disposeAsync() };
}

function serverAt(
  endpoint: string,
  { pid, dispose }: { readonly pid: number | undefined; readonly dispose: () => Promise<void> },
): S3Server {
  let places = 0;
  return {
    endpoint,
    credentials: { accessKeyId: "test:tester", secretAccessKey: "testing" },
    pid: pid ?? 0,
    newAddress: () => {
      places += 1;
      return `s3://store/place/${places}?endpoint=${encodeURIComponent(endpoint)}`;
    },
    [Symbol.asyncDispose]: dispose,
  };
}
