import type { Duplex } from "node:stream";

import type { LogSearch, LogSearchHead } from "@strata/protocol/agent/log-search";
import type { StreamRequest } from "@strata/protocol/agent/messages";
import { encodeFrame, FRAME_PAYLOAD_BYTES_MAX } from "@strata/protocol/agent/stream";
import { getErrorCode } from "@strata/protocol/errors";
import type { Logger } from "pino";

import { ID_RANGE_SIZE } from "./config.ts";
import { copyIn, copyOut } from "./container/copy.ts";
import { exec } from "./container/exec.ts";
import { searchLog } from "./container/log-search.ts";
import { readLog } from "./container/logs.ts";
import type { ManagedProcess } from "./container/managed-process.ts";
import type { ProcessServices } from "./container/process-services.ts";
import type { StartContext } from "./container/start.ts";
import { readTop } from "./container/top.ts";
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
  // Nothing can be begun in a container that is frozen, and who works in it uses it.
  if (request.kind !== "logs" && request.kind !== "top") known.wakeUp();
  switch (request.kind) {
    case "logs":
      return await sendLogs(socket, request, start);
    case "exec":
      return await exec(start, request, socket);
    case "copyOut":
      return await copyOut(start, request, socket);
    case "copyIn":
      return await copyIn(start, request, socket);
    case "top":
      return await sendTop(socket, known, runtime.services);
    default:
      return request satisfies never;
  }
}

async function sendTop(
  socket: Duplex,
  { processId, snapshot }: ManagedProcess,
  { start, config }: ProcessServices,
): Promise<void> {
  socket.resume();
  const idBase = config.idBase + (snapshot.record.slot ?? 0) * ID_RANGE_SIZE;
  const top = Buffer.from(JSON.stringify(await readTop(processId, { ...start, idBase })));
  for (let at = 0; at < top.length; at += FRAME_PAYLOAD_BYTES_MAX)
    socket.write(encodeFrame("stdout", top.subarray(at, at + FRAME_PAYLOAD_BYTES_MAX)));
  socket.write(encodeFrame("exit", { code: 0 }));
}

type LogsRequest = Extract<StreamRequest, { kind: "logs" }>;

async function sendLogs(
  socket: Duplex,
  request: LogsRequest,
  { paths, clock }: StartContext,
): Promise<void> {
  const path = processPaths(paths, request.processId).log;
  const { search } = request;
  if (search === undefined) return await sendLog(socket, path, request);
  return await sendFound(socket, path, { search, nowMs: clock() });
}

async function sendFound(
  socket: Duplex,
  path: string,
  asked: { readonly search: LogSearch; readonly nowMs: number },
): Promise<void> {
  const closed = new AbortController();
  socket.once("close", () => closed.abort());
  socket.resume();
  const head: LogSearchHead = { strataLogSearch: 1 };
  socket.write(encodeFrame("stdout", `${JSON.stringify(head)}\n`));
  const { lines, ...end } = await searchLog(path, {
    ...asked,
    monotonicMs: () => performance.now(),
    signal: closed.signal,
  });
  for (const found of [...lines, end]) {
    const bytes = Buffer.from(`${JSON.stringify(found)}\n`);
    for (let at = 0; at < bytes.length; at += FRAME_PAYLOAD_BYTES_MAX) {
      const part = bytes.subarray(at, at + FRAME_PAYLOAD_BYTES_MAX);
      if (!socket.write(encodeFrame("stdout", part))) await drained(socket);
    }
    if (socket.destroyed) return;
  }
  socket.write(encodeFrame("exit", { code: 0 }));
}

async function sendLog(
  socket: Duplex,
  path: string,
  { follow, tail, from, positions = false }: Omit<LogsRequest, "kind" | "id" | "processId">,
): Promise<void> {
  const closed = new AbortController();
  socket.once("close", () => closed.abort());
  // Nothing is expected from the other side, but its end is only noticed while somebody reads.
  socket.resume();
  let next: number | undefined;
  for await (const { offset, bytes } of readLog(path, {
    follow,
    tail,
    from,
    signal: closed.signal,
  })) {
    if (positions && offset !== next) socket.write(encodeFrame("position", { offset }));
    next = offset + bytes.length;
    if (bytes.length > 0 && !socket.write(encodeFrame("stdout", bytes))) await drained(socket);
    if (socket.destroyed) return;
  }
  if (positions) socket.write(encodeFrame("exit", { code: 0 }));
}

function drained(socket: Duplex): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once("drain", resolve);
  socket.once("close", resolve);
  return promise;
}
