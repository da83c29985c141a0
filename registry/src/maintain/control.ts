import { once } from "node:events";
/** How the command line reaches a store that runs: a socket in its folder, which only its owner can open. What was
 * asked is answered by lines of JSON: progress, then the report or the error. */
import { chmodSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";

import { CodedError, getErrorCode } from "@strata/protocol/errors";

import type { RegistryLogger } from "../logger.ts";
import { Job, type JobOptions, type JobProgress, type JobReport, runJob } from "./job.ts";

/** One line of an answer. */
export type ControlLine =
  | { readonly progress: JobProgress }
  | { readonly report: JobReport }
  | { readonly error: { readonly code: string; readonly message: string } };

export function controlSocketIn(data: string): string {
  return join(data, "control.sock");
}

export type ControlOptions = Pick<JobOptions, "registry" | "settings"> & {
  readonly data: string;
  readonly logger: RegistryLogger;
  readonly clock: () => number;
};

/** The kernel takes no longer path for a socket: unix(7). */
const PATH_BYTES_MAX = 107;
const REQUEST_BYTES_MAX = 4_096;
const PROGRESS_EVERY_MS = 200;

/** Undefined where the folder's path is too long for a socket: then the commands need the store to be stopped. The
 * caller owns the folder, so a socket that is there was left by a crash. */
export async function openControl(options: ControlOptions): Promise<AsyncDisposable | undefined> {
  const path = controlSocketIn(options.data);
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) {
    options.logger.warn({ path }, "too long for a socket: gc and scrub need the store stopped");
    return undefined;
  }
  rmSync(path, { force: true });
  const running = new Set<Promise<void>>();
  const server = createServer({ maxHeaderSize: 4_096 }, (incoming, outgoing) => {
    const answering = answer(options, incoming, outgoing)
      .catch((err: unknown) => {
        options.logger.error({ err }, "upkeep failed");
        outgoing.destroy();
      })
      .finally(() => running.delete(answering));
    running.add(answering);
  });
  server.listen(path);
  await once(server, "listening");
  chmodSync(path, 0o600);
  return {
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, "close");
      server.close();
      // Ends what is under way: who asked for it is told by the broken connection.
      server.closeAllConnections();
      await closed;
      await Promise.all(running);
    },
  };
}

async function answer(
  options: ControlOptions,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const job = await readJob(incoming);
  if (job === undefined) {
    outgoing.writeHead(400).end();
    return;
  }
  const gone = new AbortController();
  outgoing.once("close", () => gone.abort());
  outgoing.writeHead(200, { "content-type": "application/x-ndjson" });
  outgoing.flushHeaders();
  const write = (line: ControlLine): void => void outgoing.write(`${JSON.stringify(line)}\n`);
  let writtenAt = -Infinity;
  const onProgress = (progress: JobProgress): void => {
    if (options.clock() - writtenAt < PROGRESS_EVERY_MS) return;
    writtenAt = options.clock();
    write({ progress });
  };
  try {
    write({ report: await runJob(job, { ...options, signal: gone.signal, onProgress }) });
  } catch (err) {
    options.logger.error({ err }, "upkeep failed");
    const message = err instanceof CodedError ? err.message : "the store's log has the cause";
    write({ error: { code: getErrorCode(err) ?? "INTERNAL", message } });
  }
  outgoing.end();
}

async function readJob(incoming: IncomingMessage): Promise<Job | undefined> {
  const length = Number(incoming.headers["content-length"] ?? Infinity);
  if (incoming.method !== "POST" || !(length <= REQUEST_BYTES_MAX)) return undefined;
  try {
    return Job.parse(JSON.parse(await text(incoming)));
  } catch {
    return undefined;
  }
}
