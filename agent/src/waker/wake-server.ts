/** The server to which the ingress sends what no ready process can answer: it holds each request, wakes its subscription
 * and passes it on. */
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { dirname } from "node:path";
import type { Duplex } from "node:stream";

import type { Ingress, IngressRoute } from "@strata/protocol/agent/network";
import type { Logger } from "pino";

import type { Target } from "./find-target.ts";
import { createHolder, HoldError, type HolderOptions } from "./holder.ts";
import { connect, passOn, passOnUpgrade } from "./pass-on.ts";

/** Set by the ingress, which takes it from what clients send. */
const ROUTE_HEADER = "x-strata-route";

export type WakeServerOptions = HolderOptions & {
  readonly socketPath: string;
  readonly logger: Logger;
};

export type WakeServer = {
  /** Requests that are answered by way of it right now, by process. */
  readonly inFlight: () => ReadonlyMap<string, number>;
  /** Requests that wait, by service. */
  readonly queued: () => ReadonlyMap<string, number>;
  /** Breaks off what is under way. */
  readonly close: () => Promise<void>;
};

const CONNECTIONS_MAX = 4096;

/** Resolves when it listens. */
export async function openWakeServer(options: WakeServerOptions): Promise<WakeServer> {
  const { network, logger, socketPath } = options;
  const holder = createHolder(options);
  const findRoute = createFindRoute(() => network.state().ingress);
  const counts = new Map<string, number>();
  const carry = async (incoming: IncomingMessage, way: Way): Promise<void> => {
    const gone = new AbortController();
    way.client.once("close", () => gone.abort());
    const { signal } = gone;
    const route = findRoute(String(incoming.headers[ROUTE_HEADER] ?? ""));
    if (route === undefined) return way.refuse(noRoute);
    try {
      const { socket, target } = await reach(route, { holder, signal });
      using _count = begin(counts, target);
      await way.passOn({ route, socket, signal });
    } catch (error) {
      if (signal.aborted) return;
      logger.debug({ err: error, route: route.id }, "a held request came to nothing");
      way.refuse(toProblem(error));
    }
  };

  const server = createServer({ requestTimeout: 0, keepAliveTimeout: 10_000 });
  server.maxConnections = CONNECTIONS_MAX;
  server.on("request", (incoming: IncomingMessage, response: ServerResponse) => {
    void carry(incoming, {
      client: response,
      passOn: (passing) => passOn(incoming, response, passing),
      refuse: (problem) => answer(response, problem),
    });
  });
  server.on("upgrade", (incoming: IncomingMessage, client: Duplex, head: Buffer) => {
    client.on("error", () => client.destroy());
    void carry(incoming, {
      client,
      passOn: (passing) => passOnUpgrade(incoming, client, { ...passing, head }),
      refuse: (problem) => void client.end(writeAnswer(problem)),
    });
  });
  mkdirSync(dirname(socketPath), { recursive: true, mode: 0o755 });
  rmSync(socketPath, { force: true });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(socketPath, resolve);
  await promise;
  // The ingress runs as somebody else, and sees nothing of the node but the folder of this socket.
  chmodSync(socketPath, 0o666);
  return {
    inFlight: () => counts,
    queued: holder.queued,
    close: async () => {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      server.closeAllConnections();
      await closed.promise;
    },
  };
}

/** How a request is passed on, or answered here. */
type Way = {
  readonly client: ServerResponse | Duplex;
  readonly passOn: (passing: {
    readonly route: IngressRoute;
    readonly socket: Socket;
    readonly signal: AbortSignal;
  }) => Promise<void>;
  readonly refuse: (problem: Problem) => void;
};

type Reaching = { readonly holder: ReturnType<typeof createHolder>; readonly signal: AbortSignal };

/** A process that took no connection gets a second chance when there is no other so soon. */
const OTHER_MS = 200;

/** A process that takes no connection is left for another, within the route's time. Nothing of the request was read yet. */
async function reach(
  route: IngressRoute,
  { holder, signal }: Reaching,
): Promise<{ readonly socket: Socket; readonly target: Target }> {
  const late = AbortSignal.any([signal, AbortSignal.timeout(route.limits.queueMsMax)]);
  const avoided = new Set<string>();
  for (;;) {
    const soon = avoided.size === 0 ? late : AbortSignal.any([late, AbortSignal.timeout(OTHER_MS)]);
    try {
      const target = await holder.hold(route, { signal: soon, avoided });
      avoided.add(target.processId);
      return { target, socket: await connect(target) };
    } catch (error) {
      if (!(error instanceof HoldError)) continue;
      if (late.aborted || error.code !== "WAKE_LATE") throw error;
      avoided.clear();
    }
  }
}

/** Routes by their ids, read once for each table. */
function createFindRoute(ingress: () => Ingress | null): (id: string) => IngressRoute | undefined {
  let known: Ingress | null = null;
  let routes: ReadonlyMap<string, IngressRoute> = new Map();
  return (id) => {
    const now = ingress();
    if (now !== known) {
      known = now;
      routes = new Map((now?.routes ?? []).map((route) => [route.id, route]));
    }
    return routes.get(id);
  };
}

function begin(counts: Map<string, number>, { processId }: Target): Disposable {
  counts.set(processId, (counts.get(processId) ?? 0) + 1);
  return {
    [Symbol.dispose]: () => {
      const left = (counts.get(processId) ?? 1) - 1;
      if (left > 0) counts.set(processId, left);
      else counts.delete(processId);
    },
  };
}

type Problem = {
  readonly status: 502 | 503;
  readonly code: string;
  readonly title: string;
  readonly hint: string;
};

const noRoute: Problem = {
  status: 503,
  code: "NO_PROCESS_READY",
  title: "no process is ready to answer",
  hint: "try again soon: strata ps shows what runs and what it waits for",
};
const hints: Readonly<Record<HoldError["code"], string>> = {
  QUEUE_FULL: "try again soon; limits.queue of the route takes more",
  WAKE_REFUSED: "see strata describe of the subscription: what keeps it asleep is in its status",
  WAKE_LATE: "try again soon: strata ps shows what runs and what it waits for",
};

function toProblem(error: unknown): Problem {
  if (error instanceof HoldError) {
    const { code, message } = error;
    return { status: 503, code, title: message, hint: hints[code] };
  }
  const title = "the process broke off before it answered";
  return { status: 502, code: "ANSWER_BROKEN", title, hint: "see the logs of the process" };
}

function bodyOf(problem: Problem): string {
  return JSON.stringify({ type: "about:blank", ...problem });
}

function answer(response: ServerResponse, problem: Problem): void {
  // What has begun to be answered can only be broken off.
  if (response.headersSent) return void response.destroy();
  response.writeHead(problem.status, headersOf(problem));
  response.end(bodyOf(problem));
}

function headersOf({ status }: Problem): Record<string, string> {
  return {
    "content-type": "application/problem+json",
    ...(status === 503 && { "retry-after": "1" }),
    // What of the body was not read is not read any more.
    connection: "close",
  };
}

function writeAnswer(problem: Problem): string {
  const body = bodyOf(problem);
  const headers = { ...headersOf(problem), "content-length": String(Buffer.byteLength(body)) };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n${lines.join("\r\n")}\r\n\r\n${body}`;
}
