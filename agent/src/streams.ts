import type { Duplex } from "node:stream";

import type { StreamRequest } from "@strata/protocol/agent/messages";
import { encodeFrame } from "@strata/protocol/agent/stream";
import { getErrorCode } from "@strata/protocol/errors";
import type { Logger } from "pino";

import { copyIn, copyOut } from "./container/copy.ts";
import { exec } from "./container/exec.ts";
import { readLog } from "./container/logs.ts";
import type { ControllerClient } from "./controller-client.ts";
import { AgentError } from "./errors.ts";
import { processPaths } from "./paths.ts";
import type { Runtime } from "./runtime.ts";

export type StreamContext = {
  readonly runtime: Runtime;
  readonly client: Pick<ControllerClient, "openStream">;
  readonly logger: Logger;
};

/** Opens the connection that a stream request asks for and serves it to its end. Never rejects: what goes wrong is the
 * last frame. */
export async function serveStream(request: StreamRequest, context: StreamContext): Promise<void> {
  const { client, logger } = context;
  try {
    const socket = await client.openStream(request.id);
    socket.on("error", () => socket.destroy());
    try {
      await serve(request, socket, context);
    } catch (error) {
      const code = getErrorCode(error) ?? "STREAM_FAILED";
      const message = error instanceof Error ? error.message : String(error);
      if (socket.writable) socket.write(encodeFrame("error", { code, message }));
    } finally {
      socket.end();
    }
  } catch (error) {
    logger.warn({ err: error, stream: request.id }, "a stream could not be opened");
  }
}

async function serve(
  request: StreamRequest,
  socket: Duplex,
  { runtime }: StreamContext,
): Promise<void> {
  const { processId } = request;
  const known = runtime.getProcess(processId);
  if (known === undefined) {
    throw new AgentError("NOT_RUNNING", `this node has no process ${processId}`);
  }
  const { start } = runtime.services;
  if (request.kind !== "logs" && !known.snapshot.isRunning) {
    throw new AgentError("NOT_RUNNING", `process ${processId} does not run now`);
  }
  switch (request.kind) {
    case "logs":
      return await sendLog(socket, processPaths(start.paths, processId).log, request);
    case "exec":
      return await exec(start, request, socket);
    case "copyOut":
      return await copyOut(start, request, socket);
    case "copyIn":
      return await copyIn(start, request, socket);
    default:
      return request satisfies never;
  }
}

type LogsRequest = Extract<StreamRequest, { kind: "logs" }>;

async function sendLog(
  socket: Duplex,
  path: string,
  { follow, tail }: Pick<LogsRequest, "follow" | "tail">,
): Promise<void> {
  const closed = new AbortController();
  socket.once("close", () => closed.abort());
  // Nothing is expected from the other side, but its end is only noticed while somebody reads.
  socket.resume();
  for await (const chunk of readLog(path, { follow, tail, signal: closed.signal })) {
    if (!socket.write(encodeFrame("stdout", chunk))) await drained(socket);
    if (socket.destroyed) return;
  }
}

function drained(socket: Duplex): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once("drain", resolve);
  socket.once("close", resolve);
  return promise;
}
