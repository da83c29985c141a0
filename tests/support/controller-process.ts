/** The controller as a program of its own, on free ports and a folder of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { Agent, request } from "undici";

import type { Answer, CallOptions } from "./controller.ts";
import { aTemporaryDirectory } from "./temporary.ts";

export type ControllerProcess = AsyncDisposable & {
  readonly dataDirectory: string;
  /** Plain HTTP on loopback. */
  url: string;
  /** Of the TLS listener. */
  port: number;
  readonly adminToken: () => string;
  readonly call: (method: string, path: string, options?: CallOptions) => Promise<Answer>;
  /** All that it has written to standard output and error, over all its starts. */
  readonly output: () => string;
  /** Sends the signal and waits for the end. Gives the exit status, or the signal that ended it. */
  readonly kill: (signal: NodeJS.Signals) => Promise<number | NodeJS.Signals | null>;
  /** On the same folder, after `kill`. */
  readonly start: () => Promise<void>;
};

const main = fileURLToPath(new URL("../../controller/src/main.ts", import.meta.url));

export type ProcessOptions = {
  readonly environment?: Readonly<Record<string, string>>;
  /** What Node is to run [the sources]. */
  readonly command?: readonly string[];
};

export async function aControllerProcess({
  environment = {},
  command = [process.execPath, main],
}: ProcessOptions = {}): Promise<ControllerProcess> {
  const folder = aTemporaryDirectory();
  const dispatcher = new Agent({ headersTimeout: 60_000 });
  let child: ChildProcess | undefined;
  const written: string[] = [];
  const controller: ControllerProcess = {
    dataDirectory: folder.path,
    url: "",
    port: 0,
    adminToken: () => readFileSync(join(folder.path, "admin-token"), "utf8").trim(),
    call: async (method, path, { body, token, headers = {} } = {}) => {
      const answer = await request(new URL(path, controller.url), {
        method: method === "PUT" || method === "POST" || method === "DELETE" ? method : "GET",
        dispatcher,
        headers: { authorization: `Bearer ${token ?? controller.adminToken()}`, ...headers },
        body: body === undefined ? null : typeof body === "string" ? body : JSON.stringify(body),
      });
      const text = await answer.body.text();
      const fields = new Headers();
      for (const [name, value] of Object.entries(answer.headers)) fields.set(name, String(value));
      const isJson = (fields.get("content-type") ?? "").includes("json");
      return {
        status: answer.statusCode,
        headers: fields,
        body: isJson && text !== "" ? JSON.parse(text) : text,
      };
    },
    output: () => written.join("\n"),
    kill: async (signal) => {
      if (child === undefined) return null;
      const ending = child;
      child = undefined;
      const hasEnded = ending.exitCode !== null || ending.signalCode !== null;
      const ended = hasEnded ? undefined : once(ending, "exit");
      ending.kill(signal);
      await ended;
      return ending.exitCode ?? ending.signalCode;
    },
    start: async () => {
      const started = startProcess(command, { STRATA_DATA: folder.path, ...environment }, written);
      child = started.child;
      const { port, plainPort } = await started.ports;
      controller.port = port;
      controller.url = `http://127.0.0.1:${plainPort ?? port}`;
    },
    [Symbol.asyncDispose]: async () => {
      await controller.kill("SIGKILL");
      await dispatcher.destroy();
      await folder[Symbol.asyncDispose]();
    },
  };
  await controller.start();
  return controller;
}

type Ports = { readonly port: number; readonly plainPort?: number };

/** Rejects with what it wrote when it ends without listening. */
function startProcess(
  [program = "", ...args]: readonly string[],
  environment: Readonly<Record<string, string>>,
  written: string[],
): { readonly child: ChildProcess; readonly ports: Promise<Ports> } {
  const child = spawn(program, args, {
    env: {
      PATH: process.env["PATH"],
      STRATA_PORT: "0",
      ...environment,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ports = Promise.withResolvers<Ports>();
  const errors: string[] = [];
  child.stderr.on("data", (chunk: Buffer) => {
    errors.push(chunk.toString());
    written.push(chunk.toString());
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    written.push(line);
    const entry: Ports & { msg: string } = JSON.parse(line);
    if (entry.msg === "the controller listens") ports.resolve(entry);
  });
  child.once("exit", (code) => ports.reject(new Error(`ended with ${code}: ${errors.join("")}`)));
  return { child, ports: ports.promise };
}
