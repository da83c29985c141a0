/** Connections that leave HTTP: `Upgrade: strata-stream`. The agent's end of logs and exec, and the client's end of an
 * interactive exec. Frames pass through unread. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

import { Argv, EnvName } from "@strata/protocol/agent/messages";
import { z } from "zod";

import { bearerOf } from "../access/bearer.ts";
import { callerAddress, FORWARDED_HEADER } from "../access/caller-address.ts";
import { ControllerError } from "../errors.ts";
import type { StreamWish } from "../streams/rendezvous.ts";
import { splice } from "../streams/splice.ts";
import { createAudited } from "./audited.ts";
import { FieldsError, toProblem } from "./problem.ts";
import { requireProcess } from "./read.ts";
import { authorizeCaller } from "./route.ts";
import { requireNodeOf } from "./routes/processes.ts";
import type { Services } from "./services.ts";

const STREAM_PROTOCOL = "strata-stream";

const KEEP_ALIVE_AFTER_MS = 30_000;

export type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

export function createUpgradeHandler(services: Services): UpgradeHandler {
  return (request, socket, head) => {
    // Whoever closes early has nobody to be told.
    socket.on("error", () => socket.destroy());
    // A peer that vanished without a word is noticed in a few minutes.
    request.socket.setKeepAlive(true, KEEP_ALIVE_AFTER_MS);
    handle(services, { request, socket, head }).catch((error: unknown) => {
      if (!(error instanceof ControllerError))
        services.logger.error({ err: error }, "upgrade failed");
      refuse(socket, error);
    });
  };
}

type Upgrade = {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
};

async function handle(services: Services, upgrade: Upgrade): Promise<void> {
  const { request } = upgrade;
  const url = new URL(request.url ?? "/", "http://controller.invalid");
  if (request.headers.upgrade?.toLowerCase() !== STREAM_PROTOCOL) {
    throw new ControllerError("NOT_FOUND", "no such protocol to upgrade to", {
      hint: `send Upgrade: ${STREAM_PROTOCOL}`,
    });
  }
  const address = callerAddress(
    {
      peer: request.socket.remoteAddress,
      forwarded: [request.headers[FORWARDED_HEADER] ?? []].flat().join(","),
    },
    services.config.trustedProxies,
  );
  const credential = bearerOf(request.headers.authorization) ?? "";
  const { caller } = await services.gate.admit(credential, address);
  const [, nodeId, streamId] = /^\/v1\/nodes\/([^/]+)\/streams\/([^/]+)$/.exec(url.pathname) ?? [];
  if (nodeId !== undefined && streamId !== undefined) {
    authorizeCaller(caller, { access: "node", nodeId });
    acceptAgent(services, upgrade, { nodeId, streamId });
    return;
  }
  const [, processId] = /^\/v1\/processes\/([^/]+)\/exec$/.exec(url.pathname) ?? [];
  if (processId === undefined)
    throw new ControllerError("NOT_FOUND", "this path has no stream", {
      hint: "see GET /openapi.json",
    });
  const audited = createAudited(services);
  const attempt = audited.begin({ method: "GET", path: url.pathname, address }, 101);
  attempt.caller = caller;
  try {
    const principal = authorizeCaller(caller, { access: "deployer", nodeId: undefined });
    const nodeId = requireNodeOf(services, requireProcess(services, processId, principal));
    const wish = parseExecWish(processId, url.searchParams);
    // Before the command begins: nobody knows when it will end.
    audited.finish(attempt, 101, null);
    await openExec(services, upgrade, { nodeId, wish });
  } catch (error) {
    const { status, body } = toProblem(error);
    audited.finish(attempt, status, body.code);
    throw error;
  }
}

function acceptAgent(
  { rendezvous }: Services,
  { socket, head }: Upgrade,
  { nodeId, streamId }: { readonly nodeId: string; readonly streamId: string },
): void {
  // Answered before it is handed over, so that no frame can overtake the answer.
  const unshifted = switchProtocols(socket, head);
  if (!rendezvous.accept(nodeId, streamId, unshifted)) socket.destroy();
}

async function openExec(
  { rendezvous }: Services,
  { socket, head }: Upgrade,
  { nodeId, wish }: { readonly nodeId: string; readonly wish: StreamWish },
): Promise<void> {
  const gone = new AbortController();
  const abort = (): void => gone.abort();
  socket.once("close", abort);
  const agent = await rendezvous.open(nodeId, wish, gone.signal);
  socket.off("close", abort);
  splice({ client: switchProtocols(socket, head), agent });
}

const ExecQuery = z.strictObject({
  command: Argv.min(1),
  env: z.array(z.string()).default([]),
  tty: z
    .array(z.enum(["true", "false"]))
    .max(1)
    .default([]),
});

/** `command=…` once for each argument, `env=NAME=value` for each variable, `tty=true`.
 * @throws FieldsError */
function parseExecWish(processId: string, query: URLSearchParams): StreamWish {
  const values = Object.fromEntries(
    [...new Set(query.keys())].map((name) => [name, query.getAll(name)]),
  );
  const parsed = ExecQuery.safeParse(values);
  if (!parsed.success) throw new FieldsError("query", parsed.error);
  const { command, env, tty } = parsed.data;
  return {
    kind: "exec",
    processId,
    command,
    tty: tty[0] === "true",
    env: Object.fromEntries(env.map(parseVariable)),
  };
}

function parseVariable(text: string): [string, string] {
  const equals = text.indexOf("=");
  const name = EnvName.safeParse(text.slice(0, Math.max(0, equals)));
  if (name.success && !/[\n\r\0]/.test(text)) return [name.data, text.slice(equals + 1)];
  throw new ControllerError("INVALID", "query: env is not NAME=value", {
    hint: "send env=NAME=value, without line breaks",
  });
}

function switchProtocols(socket: Duplex, head: Buffer): Duplex {
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${STREAM_PROTOCOL}\r\n\r\n`,
  );
  // Bytes that came together with the request belong to the stream.
  if (head.length > 0) socket.unshift(head);
  return socket;
}

function refuse(socket: Duplex, error: unknown): void {
  if (!socket.writable) return;
  const { status, headers, body } = toProblem(error);
  const text = JSON.stringify(body);
  const lines = [
    `HTTP/1.1 ${status} ${body.title}`,
    ...Object.entries({
      ...headers,
      connection: "close",
      "content-length": String(Buffer.byteLength(text)),
    }).map(([name, value]) => `${name}: ${value}`),
  ];
  socket.end(`${lines.join("\r\n")}\r\n\r\n${text}`);
}
