/** A whole installation for a system test, and what such tests ask of it again and again. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import { Event, listOf, Process, Subscription } from "@strata/protocol/api/resources";

import type { Instance } from "../../scripts/instance/instance.ts";
import { aScratchInstance } from "../../scripts/instance/scratch.ts";
import { waitFor } from "../../scripts/instance/wait.ts";
import { root } from "../../scripts/root.ts";
import { aTemporaryDirectory } from "./temporary.ts";

const WAIT_MS = 60_000;

export type Answer = { readonly status: number; readonly text: string; readonly body: unknown };

export type RunningInstance = AsyncDisposable & {
  readonly instance: Instance;
  /** A folder of the test's own, gone with the instance. */
  readonly scratch: string;
  /** One call as curl makes it, with the admin token unless another, or none (`""`), is given. */
  readonly call: (method: string, path: string, options?: CallOptions) => Promise<Answer>;
  /** As `call`; throws for an answer that is not 2xx. */
  readonly mustCall: (method: string, path: string, body?: unknown) => Promise<unknown>;
  readonly subscription: (alias: string) => Promise<Subscription>;
  readonly processes: (alias: string) => Promise<readonly Process[]>;
  /** The processes of a subscription once exactly `count` of them exist and all are ready. */
  readonly readyProcesses: (alias: string, count: number) => Promise<readonly Process[]>;
  readonly events: () => Promise<readonly Event[]>;
};

export type CallOptions = { readonly body?: unknown; readonly token?: string };

/** Runs `scripts/up` into a temporary folder. At the end of the scope it is purged. */
export async function aRunningInstance(
  settings: Readonly<Record<string, string>> = {},
): Promise<RunningInstance> {
  const folder = aTemporaryDirectory();
  const scratch = await aScratchInstance(join(folder.path, "instance"), () => undefined, settings);
  const { instance } = scratch;
  const adminToken = readFileSync(join(instance.data, "admin-token"), "utf8").trim();

  const call: RunningInstance["call"] = async (method, path, { body, token = adminToken } = {}) => {
    const response = await fetch(`${instance.url}${path}`, {
      method,
      headers: {
        ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(WAIT_MS),
    });
    const text = await response.text();
    return { status: response.status, text, body: parseJson(text) };
  };
  const mustCall: RunningInstance["mustCall"] = async (method, path, body) => {
    const answer = await call(method, path, { body });
    if (answer.status >= 200 && answer.status < 300) return answer.body;
    throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
  };
  const processes = async (alias: string): Promise<readonly Process[]> =>
    listOf(Process).parse(await mustCall("GET", `/v1/subscriptions/${alias}/processes`)).items;

  return {
    instance,
    scratch: folder.path,
    call,
    mustCall,
    processes,
    subscription: async (alias) =>
      Subscription.parse(await mustCall("GET", `/v1/subscriptions/${alias}`)),
    readyProcesses: async (alias, count) => {
      let seen: readonly Process[] = [];
      return mustBecome(
        () => `${count} processes of ${alias} are ready: ${seen.map(describe).join("; ")}`,
        async () => {
          seen = await processes(alias);
          const areReady = seen.every((one) => one.ready && one.state === "running");
          return seen.length === count && areReady ? seen : undefined;
        },
      );
    },
    events: async () => listOf(Event).parse(await mustCall("GET", "/v1/events?limit=1000")).items,
    [Symbol.asyncDispose]: async () => {
      await scratch[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Asks until there is an answer. A refused connection counts as none: servers restart in these tests.
 * @throws Error after a minute, saying what never became true. */
export async function mustBecome<Value>(
  what: string | (() => string),
  ask: () => Promise<Value | undefined>,
): Promise<Value> {
  let lastError: unknown;
  const found = await waitFor(
    () =>
      ask().catch((error: unknown) => {
        lastError = error;
        return undefined;
      }),
    { timeoutMs: WAIT_MS },
  );
  if (found !== undefined) return found;
  const wanted = typeof what === "string" ? what : what();
  throw new Error(`never came true: ${wanted}`, { cause: lastError });
}

/** Kills controller or agent as a crash does, and resolves once its keeper has started it again. */
export async function killDaemon(
  { run: folder }: Instance,
  name: "agent" | "controller",
): Promise<void> {
  const path = join(folder, `${name}.pid`);
  const pid = readFileSync(path, "utf8");
  process.kill(Number(pid), "SIGKILL");
  await mustBecome(`${name} is started again`, () =>
    Promise.resolve(readFileSync(path, "utf8") === pid ? undefined : true),
  );
}

/** Runs the command line as a person does, against this instance; gives what it printed. */
export async function strata({ settings }: Instance, ...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(join(root, "strata"), args, {
    env: { ...process.env, ...settings },
    maxBuffer: 16 * 1024 * 1024,
  });
  return stdout;
}

/** The address of a process's first published port. */
export function urlOf(process: Process | undefined): string {
  const url = process?.endpoints[0]?.url;
  if (url === undefined) throw new Error(`${process?.id ?? "no process"} publishes no port`);
  return url;
}

/** The page at this address. */
export async function pageOf(url: string): Promise<string> {
  return (await fetch(url, { signal: AbortSignal.timeout(5000) })).text();
}

function describe({ id, state, ready, reason }: Process): string {
  return `${id} is ${state}${ready ? ", ready" : ""} ${reason?.message ?? ""}`.trim();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // Plain text, as logs are.
  }
}
