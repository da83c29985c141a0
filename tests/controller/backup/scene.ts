/** A real controller as a program, with images and fake agents, that is backed up and restored. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";

import type { Restore } from "@strata/controller/backup/restore";

import type { ControllerProcess } from "../../support/controller-process.ts";

const main = fileURLToPath(new URL("../../../controller/src/main.ts", import.meta.url));
const cli = fileURLToPath(new URL("../../../cli/src/main.ts", import.meta.url));

export type Ended = { readonly code: number | null; readonly out: string; readonly err: string };

async function run(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<Ended> {
  const child = spawn(process.execPath, [program, ...args], {
    // Without a home it would keep what it compiled in a new folder of the machine.
    env: { PATH: process.env["PATH"], NODE_DISABLE_COMPILE_CACHE: "1", ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = once(child, "exit");
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  await ended;
  return { code: child.exitCode, out, err };
}

/** `strata …` as this controller's admin. */
export function runCli(controller: ControllerProcess, args: readonly string[]): Promise<Ended> {
  return run(cli, args, { STRATA_URL: controller.url, STRATA_TOKEN: controller.adminToken() });
}

/** `strata restore …`, as the program that it becomes. */
export function runRestore(args: readonly string[]): Promise<Ended> {
  return run(main, ["restore", ...args], {});
}

/** The bytes of a backup by the API, into a file. */
export async function backUp(
  controller: ControllerProcess,
  file: string,
  { blobs = false }: { readonly blobs?: boolean } = {},
): Promise<void> {
  const answer = await fetch(new URL("/v1/backups", controller.url), {
    method: "POST",
    headers: {
      authorization: `Bearer ${controller.adminToken()}`,
      "content-type": "application/json",
    },
    body: JSON.stringify({ blobs }),
  });
  if (answer.status !== 200 || answer.body === null)
    throw new Error(`backup: ${answer.status} ${await answer.text()}`);
  await pipeline(Readable.fromWeb(answer.body), createWriteStream(file));
}

export function aRestore(file: string, data: string, changes: Partial<Restore> = {}): Restore {
  const keys = { identities: [], passphrase: undefined };
  return { file, data, keys, nowMs: Date.parse("2026-03-01"), epoch: "new", ...changes };
}

/** Until the condition holds. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const endsAt = performance.now() + 50_000;
  while (!condition()) {
    if (performance.now() > endsAt) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => void setTimeout(resolve, 5));
  }
}
