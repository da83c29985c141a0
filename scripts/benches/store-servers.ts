import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";

import { request } from "undici";

import { bundleStore } from "../bundle.ts";
import { findFreePorts } from "../instance/scratch.ts";
import { waitFor } from "../instance/wait.ts";
import { type Memory, readMemory } from "./process-figures.ts";

/** A registry in a process of its own, with an empty store. */
export type StoreServer = AsyncDisposable & {
  readonly name: string;
  readonly url: string;
  /** Memory held now, and at most since the start. */
  readonly memory: () => Memory;
};

const START_TIMEOUT_MS = 20_000;
/** Of what it says, for the case that it does not start. */
const SAID_MAX = 4_000;

/** Ours as it is shipped. */
export async function aStrataStore(data: string): Promise<StoreServer> {
  const { program } = await bundleStore();
  const child = spawn(process.execPath, [program, "--data", data, "--port", "0"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  // It complains of each client that hangs up in the middle, as all do at the end of their time.
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    if (said.length < SAID_MAX) said += text;
  });
  for await (const line of createInterface(child.stdout)) {
    const url = /^listening on (\S+)$/.exec(line)?.[1];
    if (url !== undefined) return serverOf(child, { name: "strata", url });
  }
  throw new Error(`the store did not start: ${said}`);
}

/** Debian's docker-registry with the cache that its package configures, and no log of accesses. */
export async function aDockerRegistry(data: string): Promise<StoreServer> {
  const port = await findFreePorts();
  const file = `${data}.yml`;
  const settings = {
    version: 0.1,
    log: { level: "error", accesslog: { disabled: true } },
    storage: {
      cache: { blobdescriptor: "inmemory" },
      filesystem: { rootdirectory: data },
      delete: { enabled: true },
    },
    http: { addr: `127.0.0.1:${port}` },
  };
  // JSON is YAML too.
  writeFileSync(file, JSON.stringify(settings));
  const child = spawn("docker-registry", ["serve", file], { stdio: "ignore" });
  const server = serverOf(child, { name: "docker-registry", url: `http://127.0.0.1:${port}` });
  const answers = async (): Promise<true | undefined> => {
    const { body } = await request(new URL("/v2/", server.url));
    await body.dump();
    return true;
  };
  const up = await waitFor(() => answers().catch(() => undefined), {
    timeoutMs: START_TIMEOUT_MS,
  });
  if (up === undefined) {
    await server[Symbol.asyncDispose]();
    throw new Error("docker-registry did not start");
  }
  return server;
}

function serverOf(child: ChildProcess, about: Pick<StoreServer, "name" | "url">): StoreServer {
  const ended = once(child, "exit");
  return {
    ...about,
    memory: () => readMemory(child.pid ?? 0),
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await ended;
    },
  };
}
