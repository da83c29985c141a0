import { randomBytes } from "node:crypto";
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { Duplex } from "node:stream";

import {
  Assignments,
  type Assignment,
  JoinRequest,
  Report,
  type StreamRequest,
} from "@strata/protocol/agent/messages";
import { createFrameDecoder, type Frame } from "@strata/protocol/agent/stream";

import type { TestCertificates } from "./certificates.ts";

/** A controller's agent routes over a real server: it checks every message against the protocol and says what the test
 * wants it to say. */
export type TestController = AsyncDisposable & {
  readonly url: string;
  readonly joinSecret: string;
  readonly joins: readonly JoinRequest[];
  readonly reports: readonly Report[];
  /** What the node shall run from now on; a new revision. */
  readonly say: (message: Partial<Assignments>) => void;
  readonly assign: (...assignments: readonly Assignment[]) => void;
  /** Asks for a stream and resolves with all its frames when the agent has ended it. */
  readonly ask: (request: StreamRequest) => Promise<readonly Frame[]>;
  /** From now on every connection is cut before an answer, or no more. */
  readonly setSilent: (isSilent: boolean) => void;
  /** From now on every call is answered with this problem, until undefined is given. */
  readonly refuse: (refusal: Refusal | undefined) => void;
  /** Calls that were refused so far. */
  readonly refused: () => number;
  readonly untilReport: (fits: (report: Report) => boolean) => Promise<Report>;
};

export type Refusal = { readonly status: number; readonly code: string; readonly epoch?: string };

const credential = "node-credential-of-the-test";

/** Answers what is no route of the agent's, such as those of a registry; false for what it does not know. */
export type OtherRoutes = (request: IncomingMessage, response: ServerResponse) => boolean;

export async function aController(
  certificates?: TestCertificates,
  otherRoutes: OtherRoutes = () => false,
): Promise<TestController> {
  const joinSecret = randomBytes(24).toString("base64url");
  const joins: JoinRequest[] = [];
  const reports: Report[] = [];
  const listeners = new Set<() => void>();
  const changed = (): void => listeners.forEach((listener) => listener());
  const sockets = new Set<Duplex>();
  const streams = new Map<string, (socket: Duplex) => void>();
  let isSilent = false;
  let refusal: Refusal | undefined;
  let refusedCount = 0;
  let message: Assignments = { epoch: "epoch-1", revision: 0, assignments: [], streams: [] };
  const say = (part: Partial<Assignments>): void => {
    message = Assignments.parse({ ...message, revision: message.revision + 1, ...part });
    changed();
  };

  const routes: Record<
    string,
    (request: IncomingMessage, response: ServerResponse) => Promise<void>
  > = {
    "GET /ca.pem": async (_, response) => void response.end(certificates?.caPem ?? ""),
    "POST /v1/nodes/join": async (request, response) => {
      if (request.headers.authorization !== `Bearer ${joinSecret}`) {
        return answer(response, 401, problem(401, "JOIN_TOKEN_INVALID"));
      }
      joins.push(JoinRequest.parse(await bodyOf(request)));
      return answer(response, 201, {
        nodeId: "node-1",
        name: joins.at(-1)?.name,
        partition: "local",
        credential,
        epoch: message.epoch,
        beatIntervalMs: 5000,
      });
    },
    "POST /v1/nodes/node-1/reports": async (request, response) => {
      if (request.headers.authorization !== `Bearer ${credential}`) {
        return answer(response, 401, problem(401, "NO_TOKEN"));
      }
      reports.push(Report.parse(await bodyOf(request)));
      changed();
      return answer(response, 200, { epoch: message.epoch, beatIntervalMs: 5000 });
    },
    "GET /v1/nodes/node-1/assignments": async (request, response) => {
      const query = new URL(request.url ?? "", "http://test.invalid").searchParams;
      const known = Number(query.get("revision"));
      if (known === message.revision) {
        await nextChange(listeners, () => known !== message.revision || response.destroyed);
      }
      return answer(response, 200, message);
    },
  };

  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    response.once("close", changed);
    const path = new URL(request.url ?? "", "http://test.invalid").pathname;
    const route = routes[`${request.method} ${path}`];
    if (isSilent) return void request.socket.destroy();
    if (refusal !== undefined) {
      refusedCount += 1;
      const { status, code, epoch } = refusal;
      const body = { type: "about:blank", title: code, status, code, detail: code };
      answer(response, status, { ...body, ...(epoch !== undefined && { epoch }) });
      return changed();
    }
    if (route === undefined && otherRoutes(request, response)) return;
    if (route === undefined) return answer(response, 404, problem(404, "NOT_FOUND"));
    route(request, response).catch((error: unknown) =>
      answer(response, 400, problem(400, String(error))),
    );
  };
  const server =
    certificates === undefined
      ? createHttpServer(handle)
      : createHttpsServer({ key: certificates.keyPem, cert: certificates.certPem }, handle);
  server.on(certificates === undefined ? "connection" : "secureConnection", (socket: Duplex) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("upgrade", (request: IncomingMessage, socket: Duplex) => {
    const id = /\/streams\/([^/]+)$/.exec(request.url ?? "")?.[1] ?? "";
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: strata-stream\r\nConnection: Upgrade\r\n\r\n",
    );
    streams.get(id)?.(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;

  return {
    url: `${certificates === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    joinSecret,
    joins,
    reports,
    say,
    assign: (...assignments) => say({ assignments: [...assignments] }),
    ask: async (request) => {
      const opened = new Promise<Duplex>((resolve) => streams.set(request.id, resolve));
      say({ streams: [request] });
      const socket = await opened;
      const decode = createFrameDecoder();
      const frames: Frame[] = [];
      for await (const chunk of socket) frames.push(...decode(chunk as Buffer));
      return frames;
    },
    setSilent: (next) => {
      isSilent = next;
      if (next) sockets.forEach((socket) => socket.destroy());
    },
    refuse: (next) => {
      refusal = next;
      // Long polls that wait are asked anew.
      sockets.forEach((socket) => socket.destroy());
    },
    refused: () => refusedCount,
    untilReport: async (fits) => {
      await nextChange(listeners, () => reports.some(fits));
      return reports.findLast(fits) ?? fail();
    },
    [Symbol.asyncDispose]: async () => {
      sockets.forEach((socket) => socket.destroy());
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function nextChange(listeners: Set<() => void>, isSeen: () => boolean): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const listener = (): void => {
    if (isSeen()) resolve();
  };
  listeners.add(listener);
  listener();
  await promise;
  listeners.delete(listener);
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

function problem(status: number, code: string): unknown {
  return { type: "about:blank", title: code, status, code, detail: `no: ${code}` };
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString("utf8"));
}

function fail(): never {
  throw new Error("the report was there and is gone");
}
